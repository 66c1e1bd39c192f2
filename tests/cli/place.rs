//! A place of its own for each test: nothing of the user's machine is read or written, and the real binary runs in it.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;

/// Longest wait for anything that has to happen: only a test that fails waits so long.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Place {
    folder: tempfile::TempDir,
}

/// What a command left behind.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Outcome {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("whole characters");
        Self { status: output.status, stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

impl Outcome {
    pub(crate) fn code(&self) -> Option<i32> {
        self.status.code()
    }

    pub(crate) fn signal(&self) -> Option<i32> {
        self.status.signal()
    }

    /// What was printed, once it is certain that all went well and nothing was said.
    pub(crate) fn data(&self) -> &str {
        assert_eq!((self.code(), self.stderr.as_str()), (Some(0), ""), "{self:?}");
        &self.stdout
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(self.data()).expect("JSON alone on standard output")
    }

    /// What was said of a refusal, once it is certain that nothing was printed.
    pub(crate) fn refusal(&self, code: i32) -> &str {
        assert_eq!((self.code(), self.stdout.as_str()), (Some(code), ""), "{self:?}");
        &self.stderr
    }

    /// The lines of ours before the summary, on standard error.
    pub(crate) fn talk(&self) -> Vec<&str> {
        let ours = self.stderr.lines().take_while(|line| *line != "flopsmeter: metered");
        ours.filter_map(|line| line.strip_prefix("flopsmeter: ")).collect()
    }
}

impl Place {
    pub(crate) fn new() -> Self {
        // Not in the session's folder for temporary files: a socket's path must be short.
        let folder = tempfile::Builder::new().prefix("fm").tempdir_in("/tmp").unwrap();
        for name in ["home", "state", "tmp"] {
            fs_err::create_dir(folder.path().join(name)).unwrap();
        }
        Self { folder }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn ledger(&self) -> PathBuf {
        self.path("state/flopsmeter/ledger.sqlite")
    }

    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs_err::write(&path, text).unwrap();
        path
    }

    pub(crate) fn write_json(&self, name: &str, value: &Value) -> PathBuf {
        self.write(name, value.to_string())
    }

    pub(crate) fn exists(&self, name: &str) -> bool {
        self.path(name).exists()
    }

    /// Our command, in this place's environment and folder.
    pub(crate) fn command<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        self.within(env!("CARGO_BIN_EXE_flopsmeter"), arguments)
    }

    /// Any command, in this place's environment and folder.
    pub(crate) fn within<S: AsRef<OsStr>>(&self, program: &str, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.folder.path()).env_clear().stdin(Stdio::null());
        command.env("PATH", search_path()).env("HOME", self.path("home"));
        command.env("XDG_STATE_HOME", self.path("state")).env("TMPDIR", self.path("tmp"));
        command
    }

    /// Words of a command line, split at spaces; it runs to its end.
    pub(crate) fn flopsmeter(&self, line: &str) -> Outcome {
        finish(self.command(line.split_whitespace()))
    }

    /// `flopsmeter run OPTIONS --device cpu -- sh -c SCRIPT`, so that a GPU of this machine changes nothing.
    pub(crate) fn run_script(&self, options: &str, script: &str) -> Outcome {
        finish(self.script(options, script))
    }

    pub(crate) fn script(&self, options: &str, script: &str) -> Command {
        let words = ["run", "--device", "cpu"].into_iter().chain(options.split_whitespace());
        self.command(words.chain(["--", "sh", "-c", script]))
    }

    /// The one run of the ledger, as `runs show --json` gives it.
    pub(crate) fn only_run(&self) -> Value {
        let runs = self.flopsmeter("runs list --json").json();
        let [run] = runs.as_array().unwrap().as_slice() else { panic!("not one run: {runs}") };
        self.flopsmeter(&format!("runs show {} --json", run["run"].as_str().unwrap())).json()
    }
}

/// Runs to the end.
pub(crate) fn finish(mut command: Command) -> Outcome {
    command.output().unwrap().into()
}

/// Runs to the end, with this on standard input.
pub(crate) fn finish_with_input(mut command: Command, input: &str) -> Outcome {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap().into()
}

#[expect(clippy::disallowed_methods, reason = "the one place of these tests that reads the environment")]
fn search_path() -> std::ffi::OsString {
    std::env::var_os("PATH").expect("a search path")
}

/// A file of `tests/fixtures` or another folder of the repository.
pub(crate) fn repository(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Codes of findings in JSON.
pub(crate) fn codes(run: &Value) -> Vec<&str> {
    run["findings"].as_array().unwrap().iter().map(|finding| finding["code"].as_str().unwrap()).collect()
}

/// A command that is running, whose lines are waited for.
pub(crate) struct Running {
    child: Child,
    stdout: Lines,
    stderr: Lines,
}

struct Lines {
    coming: Receiver<String>,
    seen: Vec<String>,
    reader: JoinHandle<()>,
}

impl Lines {
    fn of(stream: impl std::io::Read + Send + 'static) -> Self {
        let (sender, coming) = channel();
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { coming, seen: Vec::new(), reader }
    }

    /// The next line that holds `text`.
    fn wait_for(&mut self, text: &str) -> String {
        loop {
            let line = self.coming.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|_| panic!("no line with {text:?} after {:#?}", self.seen));
            self.seen.push(line.clone());
            if line.contains(text) {
                return line;
            }
        }
    }

    fn rest(mut self) -> Vec<String> {
        self.reader.join().unwrap();
        self.seen.extend(self.coming.try_iter());
        self.seen
    }
}

impl Running {
    pub(crate) fn start(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stdout = Lines::of(child.stdout.take().unwrap());
        let stderr = Lines::of(child.stderr.take().unwrap());
        Self { child, stdout, stderr }
    }

    pub(crate) fn pid(&self) -> nix::unistd::Pid {
        nix::unistd::Pid::from_raw(self.child.id().try_into().unwrap())
    }

    /// Types a line.
    pub(crate) fn say(&mut self, line: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    /// Types a line that the job answers with the same.
    pub(crate) fn tell(&mut self, line: &str) {
        self.say(line);
        self.stdout.wait_for(line);
    }

    pub(crate) fn wait_for_stdout(&mut self, text: &str) -> String {
        self.stdout.wait_for(text)
    }

    pub(crate) fn wait_for_stderr(&mut self, text: &str) -> String {
        self.stderr.wait_for(text)
    }

    /// The wrapper's end alone: its job may hold the streams on.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    /// Waits for the end, and gives all that was said.
    pub(crate) fn finish(mut self) -> Outcome {
        drop(self.child.stdin.take());
        let status = self.child.wait().unwrap();
        let text = |lines: Lines| lines.rest().into_iter().map(|line| line + "\n").collect();
        Outcome { status, stdout: text(self.stdout), stderr: text(self.stderr) }
    }
}

/// Until something is so.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    const PAUSE: Duration = Duration::from_millis(20);
    for _ in 0..PATIENCE.as_millis() / PAUSE.as_millis() {
        if is_so() {
            return;
        }
        std::thread::sleep(PAUSE);
    }
    panic!("{what} did not come about");
}
