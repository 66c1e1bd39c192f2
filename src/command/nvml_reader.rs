//! `flopsmeter nvml-reader`: the process in which the driver is asked, so that its faults are nobody else's.

use flopsmeter_meter::device::nvml::reader;

use crate::exit::ExitStatus;
use crate::settings;

pub(crate) fn execute() -> anyhow::Result<ExitStatus> {
    reader::serve(settings::nvml_library().as_deref())?;
    Ok(ExitStatus::Done)
}
