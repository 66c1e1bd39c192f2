//! A command that gets the message on its standard input.

use std::io::{Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::NotDelivered;
use super::message::Message;
use crate::own_process;

/// Runs the command under a shell that tells how it ended: the wrapper waits for all children of its process, so that the status
/// that the system keeps may be gone before it is asked for here.
const SHELL: &str = "(eval \"$1\") >/dev/null 2>&1; echo $?";

pub(super) fn deliver(command: &str, patience: Duration, message: &Message) -> Result<(), NotDelivered> {
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", SHELL, "flopsmeter", command]);
    shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    // A group of its own: keys and signals that are meant for the job must not reach it, and all of it can be ended.
    shell.process_group(0);
    let failed = |problem: std::io::Error| NotDelivered::for_good(format!("it could not be started: {problem}"));
    let mut child = own_process::start(&mut shell).map_err(failed)?;
    let group = i32::try_from(child.id()).map(Pid::from_raw);
    let (input, output) = (child.stdin.take(), child.stdout.take());
    let (ended, end) = sync_channel(1);
    let json = message.json.clone();
    let attend = move || {
        if let Some(mut input) = input {
            // A command that does not read is none the worse.
            let _unread = input.write_all(json.as_bytes());
        }
        let mut status = String::new();
        if let Some(output) = output {
            let _cut = output.take(64).read_to_string(&mut status);
        }
        let _gone = child.wait();
        own_process::forget(child.id());
        let _late = ended.send(status);
    };
    thread::Builder::new().name("alert-command".to_owned()).spawn(attend).map_err(failed)?;
    match end.recv_timeout(patience) {
        Ok(status) if status.trim() == "0" => Ok(()),
        Ok(status) if status.trim().is_empty() => Err(NotDelivered::for_good("it was killed")),
        Ok(status) => Err(NotDelivered::for_good(format!("it ended with code {}", status.trim()))),
        Err(_) => {
            if let Ok(group) = group {
                let _gone = killpg(group, Signal::SIGKILL);
            }
            Err(NotDelivered::for_good(format!("it took more than {} s and was ended", patience.as_secs_f64())))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::message::tests::message;
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    #[test]
    fn a_command_gets_the_message_and_its_end_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("alert.json");
        let message = message("NEAR");
        deliver(&format!("cat > '{}'", file.display()), PATIENCE, &message).unwrap();
        assert_eq!(fs_err::read_to_string(file).unwrap(), message.json);
        assert_eq!(deliver("exit 3", PATIENCE, &message).unwrap_err().text, "it ended with code 3");
        assert_eq!(deliver("true", PATIENCE, &message), Ok(()), "one that reads nothing");
        assert_eq!(deliver("kill -9 $$", PATIENCE, &message).unwrap_err().text, "it was killed");
    }

    #[test]
    fn a_command_that_hangs_is_ended_with_all_that_it_started() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pid");
        let command = format!("sleep 600 & echo $! > '{}'; wait", file.display());
        let started = || {
            let problem = deliver(&command, Duration::from_millis(1500), &message("NEAR")).unwrap_err();
            assert_eq!(problem.text, "it took more than 1.5 s and was ended");
            fs_err::read_to_string(&file).ok()?.trim().parse().ok()
        };
        // On a machine that stalls it may be ended before it has started anything.
        let sleeper: i32 = (0..5).find_map(|_| started()).unwrap();
        let is_gone = || {
            let stat = fs_err::read_to_string(format!("/proc/{sleeper}/stat")).unwrap_or_default();
            stat.is_empty() || stat.contains(") Z ")
        };
        for _ in 0..500 {
            if is_gone() {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
        panic!("what the command started runs on");
    }
}
