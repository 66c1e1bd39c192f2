//! The orders of the process in which all driver calls are made.

use std::io::{Lines, StdinLock};
use std::os::fd::AsFd as _;
use std::thread;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::reader::Order;

/// Orders from outside, one line of the standard input each. The end of the input, or what is no order, ends the process.
#[derive(Debug)]
pub(crate) struct Orders {
    lines: Lines<StdinLock<'static>>,
}

impl Orders {
    /// Begins to watch the input for its end, which ends this process at once, even in the middle of a call. Call it before anything
    /// is opened.
    pub(crate) fn begin() -> std::io::Result<Self> {
        close_inherited();
        thread::Builder::new().name("end-of-orders".to_owned()).spawn(end_with_the_input)?;
        Ok(Self { lines: std::io::stdin().lines() })
    }
}

impl Iterator for Orders {
    type Item = Order;

    fn next(&mut self) -> Option<Order> {
        let order = self.lines.next().and_then(Result::ok).and_then(|line| serde_json::from_str(&line).ok());
        if order.is_none() {
            end_at_once();
        }
        order
    }
}

/// Sleeps until nobody can give an order any more: no order wakes this thread, since it waits for the hang-up alone.
fn end_with_the_input() {
    let input = std::io::stdin();
    let mut hang_up = [PollFd::new(input.as_fd(), PollFlags::empty())];
    loop {
        match poll(&mut hang_up, PollTimeout::NONE) {
            Ok(_) => end_at_once(),
            Err(nix::Error::EINTR) => {}
            // Whoever reads the orders sees their end as well, if not in the middle of a call.
            Err(_) => return,
        }
    }
}

fn end_at_once() -> ! {
    // SAFETY: ends the process. No destructor may run: the driver's own could wait for the call that hangs.
    unsafe { libc::_exit(0) }
}

/// Descriptors that the caller of the meter left open are not ours to hold: somebody may wait for their end.
fn close_inherited() {
    // SAFETY: a plain system call, before this process has opened anything. A kernel that does not know it changes nothing.
    let _best_effort = unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, 0) };
}
