//! `flopsmeter daemon`: reads this machine's GPUs once a second for all its jobs.

use std::net::SocketAddr;

use flopsmeter_meter::daemon::socket::{Listening, SocketProblem, default_place};
use flopsmeter_meter::daemon::{self, DaemonOptions};
use flopsmeter_meter::own_memory;

use crate::args::DaemonArguments;
use crate::exit::ExitStatus;
use crate::{output, settings};

pub(crate) fn execute(arguments: &DaemonArguments) -> anyhow::Result<ExitStatus> {
    own_memory::share_one_heap();
    let listening = listen(arguments)?;
    let place = listening.path().display().to_string();
    let options = DaemonOptions {
        listening,
        metrics: arguments.metrics,
        reader: settings::nvml_reader(&[]),
        nvml_library: settings::nvml_library(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let ready = |metrics: Option<SocketAddr>| {
        let page = metrics.map_or_else(String::new, |address| format!(", and serves http://{address}/metrics"));
        output::talk(&format!("the daemon listens at {place}{page}"));
    };
    daemon::run(options, ready)?;
    Ok(ExitStatus::Done)
}

fn listen(arguments: &DaemonArguments) -> Result<Listening, SocketProblem> {
    let [process, count] = settings::passed_descriptors();
    if let Some(passed) = Listening::passed(process.as_deref(), count.as_deref()) {
        return Ok(passed);
    }
    let path = match &arguments.socket {
        Some(path) => path.clone(),
        None => default_place(settings::runtime_folder().as_deref())?,
    };
    Listening::at(&path, arguments.group.as_deref())
}
