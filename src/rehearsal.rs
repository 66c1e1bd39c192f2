//! What `run --require-meter` tries before the job: everything that metering needs, without recording anything of the job.

use std::sync::mpsc::sync_channel;
use std::time::Duration;

use flopsmeter_core::run::Finding;
use flopsmeter_core::sample::DeviceFacts;
use flopsmeter_meter::records;
use flopsmeter_meter::sampler::{Sampler, SamplerEvent, SamplerOptions};
use flopsmeter_meter::store::Ledger;

use crate::args::MeteringArguments;
use crate::{metering, settings};

/// How long the driver may take to list its GPUs; a first call can take seconds where no other process uses them.
const LISTING_PATIENCE: Duration = Duration::from_secs(15);

/// Why the job could not be metered as asked, as a fragment; `None` if nothing stands in the way.
pub(crate) fn obstacle(arguments: &MeteringArguments, sampling: SamplerOptions) -> Option<String> {
    try_all(arguments, sampling).err().map(|problem| format!("{problem:#}"))
}

fn try_all(arguments: &MeteringArguments, sampling: SamplerOptions) -> anyhow::Result<()> {
    let mut findings = Vec::new();
    let base = arguments.base.as_deref().and_then(|argument| metering::resolve(argument, &mut findings));
    first_of(findings)?;
    let mut ledger = Ledger::open(&settings::ledger_path(arguments.ledger.ledger.clone()))?;
    ledger.check_writable()?;
    if let Some(slug) = &arguments.modification
        && let Some(modification) = records::modification(&ledger, slug)?
    {
        first_of(metering::conflict(&modification, base.as_ref()).into_iter().collect())?;
    }
    if let Some(slug) = &arguments.modification {
        first_of(metering::unfollowable(&ledger, slug, base.as_ref())?.into_iter().collect())?;
    }
    try_devices(sampling)
}

fn first_of(findings: Vec<Finding>) -> anyhow::Result<()> {
    findings.into_iter().next().map_or(Ok(()), |finding| Err(anyhow::anyhow!(finding.text)))
}

/// A machine without GPUs can be metered; one whose GPUs cannot be read has no ceiling.
fn try_devices(sampling: SamplerOptions) -> anyhow::Result<()> {
    let (events, devices) = sync_channel(1);
    let options = SamplerOptions { listing_patience: LISTING_PATIENCE, ..sampling };
    let sampler = Sampler::start(options, events)?;
    // The devices are told before anything else, when the driver has answered or its time is over.
    let told = devices.recv_timeout(LISTING_PATIENCE * 2);
    drop(devices);
    sampler.stop(None);
    let Ok(SamplerEvent::Devices(devices, _)) = told else {
        anyhow::bail!("the devices of this machine cannot be read")
    };
    let unreadable = devices.iter().find_map(|device| match &device.facts {
        DeviceFacts::Unreadable { reason } => Some(reason.clone()),
        _ => None,
    });
    unreadable.map_or(Ok(()), |reason| Err(anyhow::anyhow!(reason)))
}
