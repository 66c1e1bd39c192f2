//! A wrapped command behaves as an unwrapped one. Each test runs the example `wrap` as a process of its own.
#![cfg(feature = "machine")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "wrap/job.rs"]
mod job;

use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use job::{Job, file, state, status_of, wrapped, wrapper};

#[test]
fn exit_codes_pass_through() {
    for code in [0, 1, 37, 255] {
        assert_eq!(status_of(&format!("exit {code}")).code(), Some(code));
    }
}

#[test]
fn the_wrapper_dies_of_what_the_command_died_of() {
    for signal in
        [libc::SIGKILL, libc::SIGTERM, libc::SIGINT, libc::SIGSEGV, libc::SIGABRT, libc::SIGPIPE, libc::SIGRTMIN() + 3]
    {
        let status = status_of(&format!("kill -{signal} $$"));
        assert_eq!((status.signal(), status.core_dumped()), (Some(signal), false));
    }
}

#[test]
fn a_command_that_cannot_start_has_the_shell_s_codes() {
    let code = |command: &str| wrapped(&[command]).stderr(Stdio::piped()).output().unwrap().status.code();
    assert_eq!(code("/nonexistent/command"), Some(127));
    assert_eq!(code("no-such-command-anywhere"), Some(127));
    assert_eq!(code("/"), Some(126));
    assert_eq!(code("/etc/passwd"), Some(126));
}

#[test]
fn standard_streams_and_folder_are_the_caller_s() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = wrapped(&["sh", "-c", "cat; pwd; echo talk >&2"]);
    let mut child = command
        .current_dir(&folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"in\n").unwrap();
    let Output { stdout, stderr, .. } = child.wait_with_output().unwrap();
    assert_eq!(
        String::from_utf8(stdout).unwrap(),
        format!("in\n{}\n", folder.path().canonicalize().unwrap().display())
    );
    assert_eq!(String::from_utf8(stderr).unwrap(), "talk\n");
}

#[test]
fn signals_to_the_wrapper_alone_are_passed_on_once() {
    let mut job = Job::start();
    for signal in [
        Signal::SIGTERM,
        Signal::SIGHUP,
        Signal::SIGINT,
        Signal::SIGQUIT,
        Signal::SIGUSR1,
        Signal::SIGALRM,
        Signal::SIGWINCH,
        Signal::SIGABRT,
        Signal::SIGPIPE,
    ] {
        job.send(signal);
        assert_eq!(job.next_line(), signal.as_str());
    }
    // SAFETY: a plain system call; `nix` has no real-time signals.
    unsafe {
        libc::sigqueue(job.wrapper_pid().as_raw(), libc::SIGRTMIN(), libc::sigval { sival_ptr: std::ptr::null_mut() })
    };
    assert_eq!(job.next_line(), "SIGRTMIN");
    assert_eq!(job.rest(), ["SIGUSR2"]);
}

#[test]
fn signals_to_the_whole_group_reach_the_job_once() {
    let mut job = Job::start();
    // Several times, because two that come close together can be seen as one.
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].repeat(10) {
        job.send_to_group(signal);
        assert_eq!(job.next_line(), signal.as_str());
    }
    // One to the wrapper alone is not mistaken for a group's, once it can no longer be the same one.
    std::thread::sleep(Duration::from_millis(500));
    job.send(Signal::SIGINT);
    assert_eq!(job.next_line(), "SIGINT");
    assert_eq!(job.rest(), ["SIGUSR2"]);
}

#[test]
fn without_a_witness_signals_still_pass() {
    let mut job = Job::start();
    let group = job.wrapper_pid();
    let witness = processes_of_group(group).into_iter().find(|pid| *pid != group && *pid != job.pid).unwrap();
    kill(witness, Signal::SIGKILL).unwrap();
    job.send(Signal::SIGTERM);
    assert_eq!(job.next_line(), "SIGTERM");
    assert_eq!(job.rest(), ["SIGUSR2"]);
}

fn processes_of_group(group: Pid) -> Vec<Pid> {
    let all = fs_err::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    all.map(Pid::from_raw).filter(|pid| nix::unistd::getpgid(Some(*pid)) == Ok(group)).collect()
}

#[test]
fn a_stopped_job_stops_the_wrapper_and_both_go_on() {
    let mut job = Job::start();
    job.send(Signal::SIGTSTP);
    job.wait_until_stopped();
    assert_eq!(state(job.pid), Some('T'));
    job.send(Signal::SIGCONT);
    assert_eq!(job.next_line(), "SIGCONT");

    job.send_to_group(Signal::SIGTSTP);
    job.wait_until_stopped();
    assert_eq!(state(job.pid), Some('T'));
    job.send_to_group(Signal::SIGCONT);
    assert_eq!(job.next_line(), "SIGCONT");
    assert_eq!(job.rest(), ["SIGUSR2"]);
}

#[test]
fn the_job_outlives_a_killed_wrapper_and_nothing_else_does() {
    let mut job = Job::start();
    let group = job.wrapper_pid();
    job.send(Signal::SIGKILL);
    assert_eq!(job.wrapper.wait().unwrap().signal(), Some(libc::SIGKILL));
    kill(job.pid, Signal::SIGUSR1).unwrap();
    assert_eq!(job.next_line(), "SIGUSR1");
    kill(job.pid, Signal::SIGUSR2).unwrap();
    // The end of its output: nobody holds the pipe any more, the witness included.
    assert_eq!(job.lines.map(Result::unwrap).collect::<Vec<_>>(), ["SIGUSR2"]);
    while processes_of_group(group).into_iter().any(|pid| state(pid).is_some_and(|state| state != 'Z')) {
        std::thread::yield_now();
    }
}

/// Runs `command` bare and wrapped with the same preparation, and returns both outputs.
fn both(command: &[&str], prepare: fn()) -> [String; 2] {
    [Command::new(command[0]).args(&command[1..]), &mut wrapped(command)].map(|command| {
        // SAFETY: each preparation makes system calls alone.
        unsafe {
            command.pre_exec(move || {
                prepare();
                Ok(())
            });
        }
        let output = command.stderr(Stdio::piped()).output().unwrap();
        String::from_utf8(output.stdout).unwrap() + &format!("{:?}", output.status)
    })
}

#[test]
fn the_caller_s_signal_settings_reach_the_job_unchanged() {
    const SETTINGS: [&str; 3] = ["grep", "-E", "^Sig(Blk|Ign|Cgt)"];
    let show = |prepare| {
        let [bare, wrapped] = both(&[SETTINGS[0], SETTINGS[1], SETTINGS[2], "/proc/self/status"], prepare);
        assert_eq!(bare, wrapped);
    };
    // SAFETY: plain system calls.
    show(|| {});
    show(|| unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_IGN);
    });
    show(|| unsafe {
        libc::signal(libc::SIGHUP, libc::SIG_IGN);
        libc::signal(libc::SIGCHLD, libc::SIG_IGN);
    });
    show(|| unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigaddset(&raw mut set, libc::SIGUSR1);
        libc::sigaddset(&raw mut set, libc::SIGRTMIN());
        libc::sigprocmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut());
    });
}

#[test]
fn the_exit_code_survives_a_caller_that_ignores_its_children() {
    // SAFETY: a plain system call.
    let [bare, wrapped] = both(&["sh", "-c", "exit 37"], || unsafe {
        libc::signal(libc::SIGCHLD, libc::SIG_IGN);
    });
    assert_eq!(bare, wrapped);
}

#[test]
fn open_files_are_the_caller_s() {
    const LIST: &str = "
import os
def is_open(number):
    try: os.fstat(number)
    except OSError: return False
    return True
print([number for number in range(256) if is_open(number)])";
    let files = ["python3", "-c", LIST];
    let [bare, wrapped] = both(&files, || {});
    assert_eq!(bare, wrapped);
    // SAFETY: a plain system call.
    let [bare, wrapped] = both(&files, || unsafe {
        libc::close(0);
    });
    assert_eq!(bare, wrapped);
    assert!(bare.starts_with("[1, 2"), "{bare}");
}

#[test]
fn a_closed_input_is_seen_by_its_writer() {
    // The job closes its input and goes on; whoever writes into it must get EPIPE although the wrapper is still there.
    let mut command = wrapped(&["sh", "-c", "exec <&-; echo closed; read line < $0", "/dev/fd/3"]);
    let mut child = command
        .args::<[&str; 0], _>([])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    assert_eq!(line, "closed\n");
    let broken = loop {
        if let Err(broken) = std::io::Write::write_all(&mut input, b"x") {
            break broken;
        }
    };
    assert_eq!(broken.kind(), std::io::ErrorKind::BrokenPipe);
    child.wait().unwrap();
}

/// Nanoseconds of processor time and the last word of what `--show` says.
fn shown(script: &str) -> (u64, String) {
    let output = wrapped(&["--show", "python3", "-c", script]).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    let words: Vec<&str> = text.trim().rsplitn(3, ' ').collect();
    (words[1].parse().unwrap(), words[0].to_owned())
}

#[test]
fn processor_time_of_children_and_orphans_is_counted() {
    const BURN: &str = "
import os, time
def burn():
    while time.process_time() < 0.3: pass
";
    let (time, alone) = shown(&format!("{BURN}\nburn()"));
    assert!(time >= 300_000_000, "{time}");
    assert_eq!(alone, "alone");

    // A grandchild whose parent is gone long before it has worked, while the command waits for its word.
    let orphan = format!(
        "{BURN}
r, w = os.pipe()
if os.fork() == 0:
    if os.fork() == 0:
        burn()
        os._exit(0)
    os._exit(0)
os.wait()
os.close(w)
os.read(r, 1)"
    );
    let (time, _) = shown(&orphan);
    assert!(time >= 300_000_000, "{time}");
}

#[test]
fn what_outlives_the_command_is_left_alone_and_told() {
    let script = "
import os
r, w = os.pipe()
if os.fork() == 0:
    os.close(w); os.dup2(os.open('/dev/null', os.O_RDWR), 2); os.dup2(2, 1)
    os.execvp('sleep', ['sleep', '1000'])
print(os.getpgrp())";
    let mut command = wrapped(&["--show", "python3", "-c", script]);
    let output = command.process_group(0).output().unwrap();
    assert!(String::from_utf8(output.stderr).unwrap().contains("left-running"));
    let group = Pid::from_raw(String::from_utf8(output.stdout).unwrap().trim().parse().unwrap());
    assert_eq!(processes_of_group(group).len(), 1, "the witness or nobody is left");
    killpg(group, Signal::SIGKILL).unwrap();
}

/// Runs `job.py` under the wrapper on a terminal; see `tests/wrap/terminal.py` for the steps.
fn on_terminal(steps: &str) -> Vec<String> {
    let mut command = Command::new("python3");
    command.args([&file("terminal.py"), steps]).arg(wrapper()).args(["python3", &file("job.py")]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut text = String::new();
    child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    assert!(child.wait().unwrap().success(), "{text}");
    let lines = text.lines().filter(|line| !line.starts_with("ready"));
    // What the terminal echoes of the keys.
    lines
        .map(|line| line.replace("^C", "").replace("^\\", "").replace("^Z", ""))
        .filter(|line| !line.is_empty())
        .collect()
}

#[test]
fn keys_on_a_terminal_reach_the_job_once() {
    let said = on_terminal("line ready,type 3,line SIGINT,type 28,line SIGQUIT,type 3,line SIGINT,kill SIGUSR2");
    assert_eq!(said, ["SIGINT", "SIGQUIT", "SIGINT", "SIGUSR2", "exit 0"]);
}

#[test]
fn a_shell_can_stop_and_continue_the_job() {
    let said = on_terminal("line ready,type 26,stopped,fg,line SIGCONT,type 26,stopped,fg,line SIGCONT,kill SIGUSR2");
    assert_eq!(said, ["SIGCONT", "SIGCONT", "SIGUSR2", "exit 0"]);
}

#[test]
fn a_continuation_undoes_no_later_stop() {
    // The wrapper waits for its witness before it passes the first on; the second comes meanwhile.
    let said = on_terminal("line ready,kill SIGCONT,type 26,stopped,fg,line SIGCONT,kill SIGUSR2");
    assert_eq!(said.last().map(String::as_str), Some("exit 0"), "{said:?}");
}

#[test]
fn a_terminal_that_hangs_up_is_seen_by_the_job() {
    // The job as leader of the terminal's session, bare and wrapped.
    let wrapper = wrapper();
    let said = [vec![], vec![wrapper.to_str().unwrap()]].map(|before| {
        let mut command = Command::new("python3");
        command.arg(file("hangup.py")).args(before).args(["python3", &file("job.py")]);
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    });
    assert_eq!(said[0], said[1]);
    assert_eq!(said[0], "SIGHUP\nSIGCONT\nSIGUSR2\n");
}

#[test]
fn the_witness_is_not_found_by_the_wrapper_s_name() {
    let job = Job::start();
    let group = job.wrapper_pid();
    let witness = processes_of_group(group).into_iter().find(|pid| *pid != group && *pid != job.pid).unwrap();
    let words = fs_err::read_to_string(format!("/proc/{witness}/cmdline")).unwrap();
    assert_eq!(words.trim_matches('\0'), "");
    assert_eq!(fs_err::read_to_string(format!("/proc/{witness}/comm")).unwrap(), "signal-witness\n");
    job.rest();
}
