//! `flopsmeter nvml-reader`: the process in which the driver is asked, so that its faults are nobody else's.

use flopsmeter_meter::device::nvml::reader;
use flopsmeter_meter::device::trace::{self, Head, Origin, SCHEMA};
use flopsmeter_meter::own_memory;

use crate::args::NvmlReaderArguments;
use crate::exit::ExitStatus;
use crate::settings;

pub(crate) fn execute(arguments: &NvmlReaderArguments) -> anyhow::Result<ExitStatus> {
    own_memory::share_one_heap();
    if let Some(path) = &arguments.replay {
        trace::serve(path)?;
        return Ok(ExitStatus::Done);
    }
    // Before the driver's library is there: from here on little is run again and again.
    own_memory::give_back();
    let head = head();
    let record = arguments.record.as_deref().map(|path| (path, &head));
    reader::serve(settings::nvml_library().as_deref(), record)?;
    Ok(ExitStatus::Done)
}

fn head() -> Head {
    let (origin, answered) = match settings::nvml_library() {
        Some(_) => (Origin::Synthetic, "a library that was named in place of the driver's answered"),
        None => (Origin::Measured, "the driver answered"),
    };
    let note = format!("flopsmeter {}; {answered}", env!("CARGO_PKG_VERSION"));
    Head { schema: SCHEMA.to_owned(), recorded: settings::now(), origin, note }
}
