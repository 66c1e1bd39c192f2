//! What the environment adds to the arguments, read once.
#![expect(clippy::disallowed_methods, reason = "the one module that reads the environment and the calendar")]

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsStr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use chrono::{DateTime, NaiveDate, Utc};
use flopsmeter_core::alert::Levels;
use flopsmeter_meter::alert::AlertConfig;
use flopsmeter_meter::alert::config::ConfigProblem;
use flopsmeter_meter::claim::GpuEnvironment;
use flopsmeter_meter::daemon::socket;
use flopsmeter_meter::device::launch;
use flopsmeter_meter::device::nvml::NVML_LIBRARY_VARIABLE;
use flopsmeter_meter::device::nvml::process::ReaderCommand;
use flopsmeter_meter::records::kept::Kept;
use flopsmeter_meter::store::{Ledger, StoreProblem, path};

use crate::exit::UsageProblem;

/// The ledger to use: the argument, else `FLOPSMETER_LEDGER`, else the default place.
pub(crate) fn ledger_path(argument: Option<PathBuf>) -> PathBuf {
    argument.unwrap_or_else(|| with_environment(|environment| path::ledger(environment, &env::temp_dir())))
}

/// Opens a ledger for reading alone, to list what is in it: what was read of closed runs before is kept for the next time. What somebody
/// files or stops a job by is read from the chain, by [`Ledger::open_to_read`].
pub(crate) fn ledger_to_list(path: &Path) -> Result<Ledger, StoreProblem> {
    let kept = || Kept::open(&with_environment(path::kept_summaries)?, &this_build()?);
    Ok(Ledger::open_to_read(path)?.keeping(kept()))
}

/// Tells this program's file from any other one's.
fn this_build() -> Option<String> {
    let file = fs_err::metadata(env::current_exe().ok()?).ok()?;
    let (version, second, fraction) = (env!("CARGO_PKG_VERSION"), file.mtime(), file.mtime_nsec());
    Some(format!("{version} {} {second}.{fraction:09}", file.len()))
}

/// Names the levels of alerts where no argument does.
pub(crate) const ALERT_AT_VARIABLE: &str = "FLOPSMETER_ALERT_AT";

/// The levels of alerts that the environment names, if it does.
pub(crate) fn alert_levels() -> Result<Option<Levels>, UsageProblem> {
    let Some(text) = env::var_os(ALERT_AT_VARIABLE).filter(|value| !value.is_empty()) else { return Ok(None) };
    let levels = text.to_string_lossy().parse();
    levels.map(Some).map_err(|problem| UsageProblem(format!("{ALERT_AT_VARIABLE}: {problem}")))
}

/// Names the file that says where alerts go, where no argument does.
const ALERTS_VARIABLE: &str = "FLOPSMETER_ALERTS";

/// A command line for every alert, where no argument gives one.
const ALERT_COMMAND_VARIABLE: &str = "FLOPSMETER_ALERT_COMMAND";

/// The file that says where alerts go, where the environment names one.
pub(crate) fn alerts_file() -> Option<PathBuf> {
    env::var_os(ALERTS_VARIABLE).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// Reads such a file, with what it names of the environment.
pub(crate) fn alert_config(file: &Path) -> Result<AlertConfig, ConfigProblem> {
    AlertConfig::read(file, &|name| env::var(name).ok())
}

/// The command line for every alert: the argument, else `FLOPSMETER_ALERT_COMMAND`.
pub(crate) fn alert_command(argument: Option<String>) -> Option<String> {
    argument.or_else(|| env::var(ALERT_COMMAND_VARIABLE).ok()).filter(|command| !command.is_empty())
}

/// Folders for records while the ledger cannot be written.
pub(crate) fn spool_folders() -> Vec<PathBuf> {
    with_environment(|environment| path::spools(environment, &env::temp_dir()))
}

fn with_environment<T>(choose: impl FnOnce(path::Environment<'_>) -> T) -> T {
    let read = |name: &str| env::var_os(name).filter(|value| !value.is_empty());
    let (ledger, state_home) = (read(path::LEDGER_VARIABLE), read("XDG_STATE_HOME"));
    let (cache_home, home) = (read("XDG_CACHE_HOME"), read("HOME"));
    choose(path::Environment {
        ledger: ledger.as_deref(),
        state_home: state_home.as_deref(),
        cache_home: cache_home.as_deref(),
        home: home.as_deref(),
    })
}

/// Names the organisation's house rules.
const HOUSE_RULES_VARIABLE: &str = "FLOPSMETER_HOUSE_RULES";

/// The file of house rules: the argument, else what `FLOPSMETER_HOUSE_RULES` names.
pub(crate) fn house_rules(argument: Option<PathBuf>) -> Option<PathBuf> {
    argument.or_else(|| env::var_os(HOUSE_RULES_VARIABLE).filter(|value| !value.is_empty()).map(PathBuf::from))
}

/// The day as of which rules are chosen.
pub(crate) fn as_of(argument: Option<NaiveDate>) -> NaiveDate {
    argument.unwrap_or_else(|| now().date_naive())
}

/// The wall clock.
pub(crate) fn now() -> DateTime<Utc> {
    Utc::now()
}

/// The user's runtime folder, where the system offers one. It goes away with the user's last login session, so it is no
/// place for what a job in the background needs.
pub(crate) fn runtime_folder() -> Option<PathBuf> {
    env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_dir())
}

/// Name of this machine.
pub(crate) fn host() -> String {
    let name = fs_err::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "localhost".to_owned() } else { name.to_owned() }
}

/// Which boot of this machine, where the kernel tells.
pub(crate) fn boot_id() -> Option<String> {
    fs_err::read_to_string("/proc/sys/kernel/random/boot_id").ok().map(|id| id.trim().to_owned())
}

/// Where the command runs.
pub(crate) fn working_folder() -> Option<String> {
    env::current_dir().ok().map(|folder| folder.to_string_lossy().into_owned())
}

/// A new run's id: unique, and in the order of time.
pub(crate) fn new_run_id() -> String {
    uuid::Uuid::now_v7().to_string()
}

/// What the job will see of GPUs.
pub(crate) fn gpu_environment() -> GpuEnvironment {
    let text = |name: &str| env::var_os(name).map(|value| value.to_string_lossy().into_owned());
    let with_name = |name: &str| text(name).filter(|value| !value.is_empty()).map(|value| format!("{name}={value}"));
    GpuEnvironment {
        visible_devices: text("CUDA_VISIBLE_DEVICES"),
        device_order: text("CUDA_DEVICE_ORDER"),
        container_devices: text("NVIDIA_VISIBLE_DEVICES"),
        slurm_step_gpus: text("SLURM_STEP_GPUS"),
        slurm_job_gpus: text("SLURM_JOB_GPUS"),
        amd_devices: with_name("ROCR_VISIBLE_DEVICES").or_else(|| with_name("HIP_VISIBLE_DEVICES")),
    }
}

/// What launchers told this process of its launch.
pub(crate) fn launch_environment() -> BTreeMap<String, String> {
    let told = |name: &&str| Some(((*name).to_owned(), env::var_os(name)?.to_string_lossy().into_owned()));
    launch::VARIABLES.iter().filter_map(told).collect()
}

/// Another NVML library than the system's: the one that is named, else one that the linker is told to prefer.
pub(crate) fn nvml_library() -> Option<PathBuf> {
    let named = env::var_os(NVML_LIBRARY_VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from);
    named.or_else(|| {
        let folders = env::var_os("LD_LIBRARY_PATH")?;
        let mut candidates = env::split_paths(&folders).map(|folder| folder.join("libnvidia-ml.so.1"));
        candidates.find(|library| library.is_file())
    })
}

/// How the process that asks NVIDIA's driver is started: as this program.
pub(crate) fn nvml_reader(further: &[&OsStr]) -> ReaderCommand {
    let arguments = std::iter::once("nvml-reader".as_ref()).chain(further.iter().copied());
    // Still there if the file was replaced meanwhile, and of the same version.
    ReaderCommand::new("/proc/self/exe".into(), arguments.map(OsStr::to_owned).collect())
}

/// Names the daemon's socket where it is not at its usual place; `none` for no daemon.
const DAEMON_VARIABLE: &str = "FLOPSMETER_DAEMON";

/// Where a daemon may listen.
pub(crate) fn daemon_sockets() -> Vec<PathBuf> {
    match env::var_os(DAEMON_VARIABLE).filter(|value| !value.is_empty()) {
        Some(value) if value == "none" => Vec::new(),
        Some(value) => vec![PathBuf::from(value)],
        None => socket::candidates(runtime_folder().as_deref()),
    }
}

/// Which process systemd passed how many descriptors to, if it did.
pub(crate) fn passed_descriptors() -> [Option<String>; 2] {
    ["LISTEN_PID", "LISTEN_FDS"].map(|name| env::var(name).ok())
}
