//! Commands that have the work done by processes outside the job's own tree, on this machine or another: what they start is
//! neither seen nor bounded here.

use std::collections::BTreeSet;
use std::path::Path;

use flopsmeter_core::sample::{Device, DeviceFacts};

use super::Kernel;

/// Start processes under a scheduler, a container runtime, another session or another machine.
const LAUNCHERS: [&str; 33] = [
    "srun",
    "sbatch",
    "salloc",
    "ssh",
    "rsh",
    "pdsh",
    "clush",
    "pssh",
    "parallel-ssh",
    "dask-ssh",
    "docker",
    "podman",
    "nerdctl",
    "ctr",
    "crictl",
    "lxc",
    "kubectl",
    "oc",
    "bsub",
    "qsub",
    "qrsh",
    "jsrun",
    "aprun",
    "flux",
    "oarsub",
    "condor_submit",
    "condor_run",
    "systemd-run",
    "machinectl",
    "at",
    "tmux",
    "screen",
    "torchx",
];

/// Start work on somebody's service, but move files as well: within a job they count only with one of these first words.
const SERVICES: [&str; 6] = ["ray", "sky", "modal", "gcloud", "aws", "az"];
const SUBMITS: [&str; 8] = ["job", "jobs", "launch", "run", "ai", "ml", "sagemaker", "batch"];

/// What a remote shell is told where it only carries files for another program.
const TRANSFERS: [&str; 6] = ["git-upload-pack", "git-receive-pack", "git-upload-archive", "git-lfs", "rsync", "sftp"];

/// Words of a command among which its program is looked for: `env A=1 srun …`, `nice -n 5 srun …`.
const FIRST_WORDS: usize = 4;

/// The launcher or service that a command starts with, by its first words that set no variable.
pub fn of_command(command: &[String]) -> Option<Device> {
    let words = command.iter().filter(|word| !word.contains('=')).take(FIRST_WORDS);
    let client = words.filter_map(|word| program(word)).find(|name| {
        let name = name.as_str();
        LAUNCHERS.contains(&name) || SERVICES.contains(&name)
    })?;
    Some(device(&client, &format!("`{client}`")))
}

/// Launchers among the job's processes, each told once.
#[derive(Debug, Default)]
pub(crate) struct Launchers {
    told: BTreeSet<String>,
}

impl Launchers {
    /// The launcher that a process is, unless it was told or only carries files.
    pub(crate) fn look(&mut self, kernel: &Kernel, process: u32) -> Option<Device> {
        let comm = kernel.text(&format!("proc/{process}/comm"))?;
        let line = fs_err::read(kernel.path(&format!("proc/{process}/cmdline"))).unwrap_or_default();
        let line = String::from_utf8_lossy(&line);
        let words: Vec<&str> = line.split('\0').collect();
        // A script shows under its interpreter, with its own path as the first argument.
        let script = words.get(1).filter(|word| word.starts_with('/')).and_then(|word| program(word));
        let names = [Some(comm.trim_end().to_owned()), words.first().and_then(|word| program(word)), script];
        let submits = |service: &str| {
            let after =
                words.iter().position(|word| program(word).is_some_and(|name| name == service)).map(|at| at + 1);
            SERVICES.contains(&service) && after.and_then(|at| words.get(at)).is_some_and(|word| SUBMITS.contains(word))
        };
        let is_launcher = |name: &str| LAUNCHERS.contains(&name) || submits(name);
        let launcher = names.into_iter().flatten().find(|name| is_launcher(name))?;
        let carries = words.iter().any(|word| TRANSFERS.iter().any(|transfer| word.contains(transfer)));
        if carries || !self.told.insert(launcher.clone()) {
            return None;
        }
        Some(device(&launcher, &format!("process {process} (`{launcher}`) of the job")))
    }
}

fn program(word: &str) -> Option<String> {
    Path::new(word).file_name().map(|name| name.to_string_lossy().into_owned())
}

fn device(launcher: &str, who: &str) -> Device {
    let reason = format!("{who} has the work done outside this process tree; wrap the command that it starts instead");
    let facts = DeviceFacts::Unreadable { reason };
    Device { id: format!("elsewhere:{launcher}"), name: format!("whatever {launcher} uses"), facts }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn starts_with(command: &str) -> Option<String> {
        let words: Vec<String> = command.split(' ').map(str::to_owned).collect();
        of_command(&words).map(|device| device.id)
    }

    #[test]
    fn a_command_is_known_by_its_first_words() {
        for command in
            ["srun python t.py", "/usr/bin/env A=1 B=2 C=3 D=4 srun t", "nice -n 5 docker run t", "ray job submit"]
        {
            assert!(starts_with(command).is_some(), "{command}");
        }
        for command in ["python train.py", "python train.py --with --more ray", "./ssh-keys.sh", "srunner"] {
            assert_eq!(starts_with(command), None, "{command}");
        }
    }

    fn process(folder: &Path, number: u32, comm: &str, line: &str) {
        let process = folder.join(format!("proc/{number}"));
        fs_err::create_dir_all(&process).unwrap();
        fs_err::write(process.join("comm"), format!("{comm}\n")).unwrap();
        fs_err::write(process.join("cmdline"), line.replace(' ', "\0")).unwrap();
    }

    #[test]
    fn a_launcher_inside_a_script_is_told_once_and_file_carriers_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let kernel = Kernel::under(folder.path());
        process(folder.path(), 1, "bash", "bash train.sh");
        process(folder.path(), 2, "srun", "srun python train.py");
        process(folder.path(), 3, "srun", "srun python other.py");
        process(folder.path(), 4, "ssh", "ssh git@host git-upload-pack 'a.git'");
        process(folder.path(), 5, "python3", "python3 /opt/bin/pdsh -w a,b t");
        process(folder.path(), 6, "aws", "aws s3 cp a b");
        process(folder.path(), 7, "ray", "/usr/bin/python3 /usr/local/bin/ray job submit -- python train.py");
        let mut launchers = Launchers::default();
        let told: Vec<_> =
            (1..=8).filter_map(|number| launchers.look(&kernel, number)).map(|device| device.id).collect();
        assert_eq!(told, ["elsewhere:srun", "elsewhere:pdsh", "elsewhere:ray"]);
    }
}
