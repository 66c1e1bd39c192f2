//! This process's own memory: a meter lives beside its job for days and keeps no more than it needs.

/// Keeps the allocator to one heap. It would make one for each thread, and each of them keeps what it once needed. Call it before
/// threads are started.
pub fn share_one_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: sets a number of the allocator's, which it looks at when it makes a heap.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

/// Gives what is free back to the system: starting reads tables and takes more than what follows.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the allocator looks after its own locks; nothing that is in use moves.
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_use_stays_as_it_is() {
        let kept: Vec<Vec<u8>> = (0..100).map(|value| vec![value; 10_000]).collect();
        drop((0..100).map(|value| vec![value; 10_000]).collect::<Vec<Vec<u8>>>());
        share_one_heap();
        give_back();
        let of_a_thread = std::thread::spawn(|| vec![7_u8; 10_000]).join().unwrap();
        give_back();
        assert!(kept.iter().zip(0..).all(|(bytes, value)| *bytes == vec![value; 10_000]));
        assert_eq!(of_a_thread, vec![7; 10_000]);
    }
}
