//! `flopsmeter verify`: recomputes every chain of a ledger, and tells of content that no assessment can follow.

use std::path::Path;

use anyhow::Context as _;
use flopsmeter_core::ledger::verify::{Check, StreamReport, StreamState};
use flopsmeter_core::ledger::{MODIFICATION_PREFIX, RUN_PREFIX, modification_stream};
use flopsmeter_core::lineage;
use flopsmeter_meter::store::Ledger;
use serde::Serialize;

use crate::args::VerifyArguments;
use crate::exit::ExitStatus;
use crate::{lineage::all, output};

/// What was checked and what was found.
#[derive(Debug, Serialize)]
struct VerifyReport {
    schema: &'static str,
    ledger: String,
    sound: bool,
    streams: Vec<StreamReport>,
    /// What is recorded as it was said, and cannot be so.
    contradictions: Vec<Contradiction>,
}

/// Sound entries that contradict each other.
#[derive(Debug, Serialize)]
struct Contradiction {
    stream: String,
    text: String,
}

pub(crate) fn execute(arguments: &VerifyArguments) -> anyhow::Result<ExitStatus> {
    let report = check(&arguments.ledger)?;
    if arguments.json {
        output::json(&report)?;
    } else {
        output::data(&words(&report))?;
    }
    Ok(if report.sound { ExitStatus::Done } else { ExitStatus::BrokenEvidence })
}

fn check(path: &Path) -> anyhow::Result<VerifyReport> {
    let ledger = Ledger::open_to_read(path)?;
    let context = || format!("the ledger {} could not be read to its end", path.display());
    let mut streams = Vec::new();
    for prefix in [MODIFICATION_PREFIX, RUN_PREFIX] {
        for stream in ledger.streams(prefix).with_context(context)? {
            let mut check = Check::new(&stream, &[]);
            ledger.visit(&stream, |entry| check.read(&entry)).with_context(context)?;
            streams.push(check.finish());
        }
    }
    let sound = streams.iter().all(StreamReport::is_sound);
    let all = all(&ledger).with_context(context)?;
    let contradiction = |(slug, modification): (&String, &lineage::Modification)| {
        let text = lineage::check(modification, &all).err()?.to_string();
        Some(Contradiction { stream: modification_stream(slug), text })
    };
    let contradictions = all.iter().filter_map(contradiction).collect();
    let ledger = path.display().to_string();
    Ok(VerifyReport { schema: "flopsmeter.verify/1", ledger, sound, streams, contradictions })
}

fn words(report: &VerifyReport) -> String {
    let mut text = String::new();
    for stream in &report.streams {
        let state = match stream.state {
            StreamState::Closed => "closed",
            StreamState::Open if stream.stream.starts_with(RUN_PREFIX) => "open: entries may be missing at its end",
            StreamState::Open => "open",
        };
        let found = if stream.is_sound() { "sound" } else { "BROKEN" };
        text.push_str(&format!("{found}  {}  {} entries, {state}\n", stream.stream, stream.entries));
        for problem in &stream.problems {
            text.push_str(&format!("        {problem}\n"));
        }
    }
    for Contradiction { stream, text: what } in &report.contradictions {
        text.push_str(&format!("note   {stream}  {what}\n"));
    }
    text.push_str(if report.sound {
        "No entry was changed, removed or moved inside a chain. That no whole chain is missing, this file alone does not prove.\n"
    } else {
        "The evidence is broken: compare with a copy of the ledger that was kept elsewhere.\n"
    });
    text
}
