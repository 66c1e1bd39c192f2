//! `flopsmeter doctor`: whether everything that metering needs is in its place, and what to do where it is not.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use flopsmeter_core::gpu_table::{GpuTable, Identity};
use flopsmeter_core::sample::{Device, DeviceFacts};
use flopsmeter_meter::device::Kernel;
use flopsmeter_meter::device::nvml::ListedGpu;
use flopsmeter_meter::device::nvml::survey::{Probed, Surveyed, survey};
use flopsmeter_meter::device::open_files::nvidia_node;
use flopsmeter_meter::hook::server::HookServer;
use flopsmeter_meter::store::Ledger;
use serde::Serialize;

use crate::args::DoctorArguments;
use crate::command::gpus::{PATIENCE, unbounded};
use crate::command::ledger::left_behind;
use crate::exit::ExitStatus;
use crate::output::{self, labelled};
use crate::{base, judgement, metering, settings};

/// Width of what stands before the words.
const LABEL: usize = 21;

pub(crate) fn execute(arguments: &DoctorArguments) -> anyhow::Result<ExitStatus> {
    let mut checks = driver();
    checks.push(neighbours());
    checks.push(sockets());
    checks.push(ledger(&settings::ledger_path(arguments.ledger.ledger.clone())));
    checks.extend(spools());
    checks.push(python(&arguments.python));
    checks.extend(tables());
    let broken = checks.iter().any(|check| check.state == State::Broken);
    if arguments.json {
        output::json(&serde_json::json!({ "schema": "flopsmeter.doctor/1", "checks": checks }))?;
    } else {
        let lines: String = checks.iter().map(Check::words).collect();
        output::data(&format!("{lines}\n{}\n", conclusion(&checks)))?;
    }
    Ok(if broken { ExitStatus::Failed } else { ExitStatus::Done })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    /// As it should be.
    Ok,
    /// Jobs are metered, and something is missing in what is told of them.
    Warning,
    /// Jobs cannot be metered as they should be.
    Broken,
}

#[derive(Debug, Serialize)]
struct Check {
    what: &'static str,
    state: State,
    text: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

impl Check {
    fn ok(what: &'static str, text: impl Into<String>) -> Self {
        Self { what, state: State::Ok, text: text.into(), next: None }
    }

    fn warning(what: &'static str, text: impl Into<String>, next: impl Into<String>) -> Self {
        Self { what, state: State::Warning, text: text.into(), next: Some(next.into()) }
    }

    fn broken(what: &'static str, text: impl Into<String>, next: impl Into<String>) -> Self {
        Self { what, state: State::Broken, text: text.into(), next: Some(next.into()) }
    }

    fn words(&self) -> String {
        let state = match self.state {
            State::Ok => "ok",
            State::Warning => "warning",
            State::Broken => "BROKEN",
        };
        let mut text = labelled(&format!("{state:<9}{}", self.what), LABEL, &self.text);
        if let Some(next) = &self.next {
            text.push_str(&labelled("", LABEL, &format!("next: {next}")));
        }
        text
    }
}

fn conclusion(checks: &[Check]) -> String {
    let count = |state| checks.iter().filter(|check| check.state == state).count();
    let warnings = match count(State::Warning) {
        0 => String::new(),
        1 => ", with 1 warning".to_owned(),
        more => format!(", with {more} warnings"),
    };
    match count(State::Broken) {
        0 => format!("jobs can be metered{warnings}"),
        1 => format!("1 thing is broken{warnings}"),
        more => format!("{more} things are broken{warnings}"),
    }
}

fn driver() -> Vec<Check> {
    let library = settings::nvml_library();
    let nodes = Kernel::default().names("dev");
    let has_gpu = nodes.iter().any(|name| nvidia_node(&format!("/dev/{name}")).is_some());
    match survey(&settings::nvml_reader(&[]), library.as_deref(), PATIENCE) {
        Ok(surveyed) => gpus(&surveyed, library.as_deref()),
        Err(reason) if has_gpu || library.is_some() => vec![Check::broken(
            "driver",
            format!("the NVIDIA driver cannot be asked: {reason}; the ceiling of each run is missing"),
            "see whether `nvidia-smi` works as this user",
        )],
        Err(reason) => {
            let text = format!("there is no NVIDIA GPU, so only the processor is metered ({reason})");
            vec![Check::ok("driver", text)]
        }
    }
}

fn gpus(surveyed: &[Surveyed], library: Option<&Path>) -> Vec<Check> {
    let version = surveyed.iter().find_map(|it| it.gpu.facts.driver_version.as_deref()).unwrap_or("of unknown version");
    let by = library.map_or_else(String::new, |library| format!(", through {}", library.display()));
    let mut checks = vec![Check::ok("driver", format!("NVIDIA driver {version} lists {}{by}", count(surveyed.len())))];
    let device = |gpu: &ListedGpu| Device {
        id: gpu.uuid.clone(),
        name: gpu.name.clone(),
        facts: DeviceFacts::Gpu(gpu.facts.clone()),
    };
    for Surveyed { gpu, probed, .. } in surveyed {
        if let Some(reason) = unbounded(&device(gpu)) {
            let next = "report its product name, compute capability and core count, so that it gets a row";
            checks.push(Check::broken("GPU", format!("GPU {}: {reason}", gpu.index), next));
        } else if let Some(text) = uncertain(gpu) {
            checks.push(Check::warning("GPU", text, "`flopsmeter gpus` shows what it is bounded by"));
        }
        checks.extend(lacking(gpu, probed));
    }
    checks
}

/// Where the GPU table does not know a GPU by its name and its PCI id.
fn uncertain(gpu: &ListedGpu) -> Option<String> {
    let identity = GpuTable::embedded().identify(&gpu.name, &gpu.facts);
    let ceiling = match (identity, identity.row()) {
        (Identity::Both(_) | Identity::Name(_), _) => return None,
        (_, Some(row)) => format!("is taken for row `{}` of the GPU table ({})", row.label, identity.words()),
        (_, None) => "is not in the GPU table".to_owned(),
    };
    Some(format!("GPU {}: `{}` {ceiling}: its ceiling is higher than it need be", gpu.index, gpu.name))
}

/// What cannot be measured on a GPU. Cycle counters and pipes are told by `gpus` alone: no user can add them.
fn lacking(gpu: &ListedGpu, probed: &Probed) -> Option<Check> {
    let measurable = match probed {
        Ok(measurable) => measurable,
        Err(problem) => {
            let text = format!("GPU {} cannot be read: {problem}", gpu.index);
            return Some(Check::warning("GPU", text, "`nvidia-smi -q` tells what ails it"));
        }
    };
    let needed = ["busy buffer", "energy", "processes"];
    let missing: Vec<String> = measurable
        .iter()
        .filter(|it| needed.contains(&it.what.as_str()))
        .filter_map(|it| Some(format!("{} ({})", it.what, it.why_not.as_ref()?)))
        .collect();
    let text = format!("GPU {} lacks: {}", gpu.index, missing.join(", "));
    (!missing.is_empty())
        .then(|| Check::warning("GPU", text, "`flopsmeter gpus` tells what is measured in their place"))
}

fn count(gpus: usize) -> String {
    match gpus {
        0 => "no GPU".to_owned(),
        1 => "1 GPU".to_owned(),
        more => format!("{more} GPUs"),
    }
}

/// Whether processes of other users are seen, of which the first one is always one.
fn neighbours() -> Check {
    if Kernel::default().text("proc/1/stat").is_some() {
        return Check::ok("permissions", "processes of all users can be seen in /proc");
    }
    Check::warning(
        "permissions",
        "processes of other users cannot be seen: whoever shares a GPU with a job is counted without a name",
        "nothing, unless the administrator mounts /proc without hidepid",
    )
}

fn sockets() -> Check {
    match HookServer::start(&metering::socket_folders()) {
        Ok((server, _events)) => {
            server.stop(std::time::Duration::ZERO);
            let folder = server.path().parent().and_then(Path::parent).unwrap_or(server.path());
            Check::ok("socket", format!("hooks of jobs can be listened to in {}", folder.display()))
        }
        Err(problem) => {
            Check::broken("socket", problem.to_string(), "set TMPDIR to a folder of yours with a short path")
        }
    }
}

/// Nothing is made: a ledger that is not there comes with the first run.
fn ledger(path: &Path) -> Check {
    let next = "name another place with FLOPSMETER_LEDGER or --ledger; until then runs are kept in the spool";
    if !path.exists() {
        return match writable_folder(path) {
            Ok(()) => Check::ok("ledger", format!("{} will be made by the first run", path.display())),
            Err(problem) => Check::broken("ledger", format!("{} cannot be made: {problem}", path.display()), next),
        };
    }
    let writable = Ledger::open(path).and_then(|mut ledger| ledger.check_writable());
    match writable {
        Ok(()) => Check::ok("ledger", format!("{} can be written", path.display())),
        Err(problem) => Check::broken("ledger", problem.to_string(), next),
    }
}

/// Tries the nearest folder above that there is.
fn writable_folder(path: &Path) -> std::io::Result<()> {
    let folder = path.ancestors().skip(1).find(|folder| folder.is_dir()).unwrap_or(Path::new("."));
    let probe = folder.join(format!(".flopsmeter-{}", std::process::id()));
    fs_err::File::create_new(&probe)?;
    fs_err::remove_file(&probe)
}

fn spools() -> Option<Check> {
    let left = left_behind();
    let first = left.first()?;
    let text = format!("{} of records wait to be merged, as {}", files(left.len()), first.display());
    Some(Check::warning("spool", text, "`flopsmeter ledger merge`"))
}

fn files(count: usize) -> String {
    if count == 1 { "1 file".to_owned() } else { format!("{count} files") }
}

/// Asks for the package without importing it: PyTorch alone would take seconds.
fn python(program: &PathBuf) -> Check {
    const SCRIPT: &str = "import importlib.metadata as m; print(m.version('flopsmeter-gpai'))";
    let program_name = program.display();
    let asked = Command::new(program).args(["-c", SCRIPT]).stdin(Stdio::null()).output();
    let without = "jobs are metered by the hardware alone, without their model's operations";
    match asked {
        Err(problem) => Check::warning(
            "Python",
            format!("{program_name} cannot be started ({problem}): {without}"),
            "name the Python of your jobs with --python",
        ),
        Ok(output) if !output.status.success() => Check::warning(
            "Python",
            format!("{program_name} has no package `flopsmeter-gpai`: {without}"),
            format!("`{program_name} -m pip install flopsmeter-gpai`, or name the Python of your jobs with --python"),
        ),
        Ok(output) => {
            let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
            if version == env!("CARGO_PKG_VERSION") {
                return Check::ok("Python", format!("{program_name} has the package `flopsmeter-gpai` {version}"));
            }
            let text = format!(
                "{program_name} has the package `flopsmeter-gpai` {version}, this is {}",
                env!("CARGO_PKG_VERSION")
            );
            Check::warning("Python", text, "install the two in the same version")
        }
    }
}

/// What is built in.
fn tables() -> Vec<Check> {
    let rules =
        judgement::judge(None, flopsmeter_core::assess::Answers::default(), judgement::IN_FORCE, settings::as_of(None));
    let rules = match rules {
        Ok(judge) => Check::ok("rules", format!("{} is in force, SHA-256 {}", judge.rules.id(), judge.rules.digest())),
        Err(problem) => Check::broken("rules", format!("{problem:#}"), "see whether this machine's calendar is right"),
    };
    let rows = GpuTable::embedded().rows().len();
    let gpus = if rows == 0 {
        Check::broken("GPU table", "the built-in table cannot be read", "please report this")
    } else {
        Check::ok("GPU table", format!("{rows} products, SHA-256 {}", GpuTable::embedded_digest()))
    };
    let models = match base::registry() {
        Ok(registry) => Check::ok("base models", format!("{} in the registry", registry.models().len())),
        Err(problem) => Check::broken("base models", format!("{problem:#}"), "please report this"),
    };
    vec![rules, gpus, models]
}
