use super::*;

/// A `/proc` of our own.
struct Proc {
    folder: tempfile::TempDir,
}

/// Own and waited-for ticks of one process.
#[derive(Clone, Copy)]
struct Times(u64, u64);

impl Proc {
    fn new() -> Self {
        let proc = Self { folder: tempfile::tempdir().unwrap() };
        fs_err::create_dir_all(proc.folder.path().join("proc")).unwrap();
        proc
    }

    fn tree(&self, waiter: Option<u32>) -> (ProcessTree, JobProcess) {
        let job = JobProcess::default();
        (ProcessTree::new(Kernel::under(self.folder.path()), job.clone(), waiter), job)
    }

    fn last_number(&self, number: u32) {
        fs_err::write(self.folder.path().join("proc/loadavg"), format!("0.1 0.2 0.3 1/99 {number}\n")).unwrap();
    }

    fn write(&self, number: u32, parent: u32, Times(own, reaped): Times, ignored_signals: u64) {
        let folder = self.folder.path().join(format!("proc/{number}"));
        fs_err::create_dir_all(&folder).unwrap();
        let text = format!(
            "{number} (x) S {parent} 1 1 0 -1 0 0 0 0 0 {own} 0 {reaped} 0 20 0 1 0 {number} 0 0 0 0 0 0 0 0 0 0 {ignored_signals} 0\n"
        );
        fs_err::write(folder.join("stat"), text).unwrap();
        fs_err::write(folder.join("status"), format!("Name:\tx\nTgid:\t{number}\n")).unwrap();
    }

    fn process(&self, number: u32, parent: u32, times: Times) {
        self.write(number, parent, times, 0);
    }

    fn ends(&self, number: u32) {
        std::fs::remove_dir_all(self.folder.path().join(format!("proc/{number}"))).unwrap();
    }
}

/// The bound in ticks, without what is added for rounding.
fn ticks(tree: &ProcessTree, time: ProcessorTime) -> u64 {
    u64::try_from(time.spent.as_millis()).unwrap() / 10 - ROUNDED_FIGURES * tree.most_living
}

#[test]
fn nothing_is_spent_before_the_job_starts() {
    let proc = Proc::new();
    let (mut tree, _job) = proc.tree(None);
    assert_eq!(tree.read(None), ProcessorTime { spent: Duration::ZERO, complete: true });
}

#[test]
fn a_child_that_is_waited_for_is_counted_once() {
    let proc = Proc::new();
    proc.process(10, 1, Times(500, 40));
    proc.last_number(10);
    let (mut tree, job) = proc.tree(Some(10));
    job.set(20);
    proc.process(20, 10, Times(100, 0));
    proc.process(21, 20, Times(50, 0));
    proc.last_number(21);
    let time = tree.read(None);
    assert_eq!((ticks(&tree, time), time.complete), (150, true));
    // The child ends at 80 ticks, its parent has waited for it; one that was never seen left 7 more.
    proc.ends(21);
    proc.process(20, 10, Times(110, 87));
    proc.last_number(22);
    let time = tree.read(None);
    assert_eq!((ticks(&tree, time), time.complete), (197, true));
    // The job ends, we have waited for it.
    proc.ends(20);
    proc.process(10, 1, Times(501, 40 + 120 + 87));
    let time = tree.read(Some(Duration::from_millis(2071)));
    assert_eq!((ticks(&tree, time), time.complete), (207, true));
}

#[test]
fn a_child_whose_time_nobody_has_makes_the_interval_incomplete() {
    let proc = Proc::new();
    proc.process(20, 10, Times(100, 0));
    proc.process(21, 20, Times(50, 0));
    proc.last_number(21);
    let (mut tree, job) = proc.tree(None);
    job.set(20);
    assert!(tree.read(None).complete);
    proc.ends(21);
    let time = tree.read(None);
    assert_eq!((ticks(&tree, time), time.complete), (150, false));
    assert!(tree.read(None).complete, "only the interval in which it ended is incomplete");
}

#[test]
fn a_parent_that_ignores_its_children_may_have_had_some_unseen() {
    let proc = Proc::new();
    proc.write(20, 10, Times(100, 0), 1 << 16);
    proc.last_number(20);
    let (mut tree, job) = proc.tree(None);
    job.set(20);
    tree.read(None);
    assert!(tree.read(None).complete, "no number was given out, so nothing was forked");
    proc.last_number(21);
    assert!(!tree.read(None).complete);
}

#[test]
fn an_orphan_stays_in_the_job() {
    let proc = Proc::new();
    proc.process(20, 10, Times(1, 0));
    proc.process(21, 20, Times(2, 0));
    proc.process(22, 21, Times(30, 0));
    proc.last_number(22);
    let (mut tree, job) = proc.tree(None);
    job.set(20);
    tree.read(None);
    // 21 ended and 20 waited for it; 22 now belongs to init.
    proc.ends(21);
    proc.process(20, 10, Times(1, 2));
    proc.process(22, 1, Times(60, 0));
    let time = tree.read(None);
    assert_eq!((ticks(&tree, time), time.complete), (63, true));
}

#[test]
fn a_number_that_was_given_out_again_is_another_process() {
    let proc = Proc::new();
    proc.process(20, 10, Times(10, 0));
    proc.process(21, 20, Times(5, 0));
    proc.last_number(21);
    let (mut tree, job) = proc.tree(None);
    job.set(20);
    tree.read(None);
    let stat = proc.folder.path().join("proc/21/stat");
    let text =
        fs_err::read_to_string(&stat).unwrap().replace("21 (x) S 20", "21 (x) S 1").replace(" 0 21 0", " 0 999 0");
    fs_err::write(&stat, text).unwrap();
    proc.process(20, 10, Times(10, 5));
    let time = tree.read(None);
    assert_eq!((ticks(&tree, time), time.complete), (15, true));
    assert_eq!(tree.living().collect::<Vec<_>>(), [20]);
}

#[test]
fn neighbours_and_threads_are_not_counted() {
    let proc = Proc::new();
    proc.process(20, 10, Times(10, 0));
    proc.process(30, 1, Times(1000, 0));
    proc.process(21, 10, Times(10, 0));
    fs_err::write(proc.folder.path().join("proc/21/status"), "Name:\tx\nTgid:\t20\n").unwrap();
    let (mut tree, job) = proc.tree(Some(10));
    proc.process(10, 1, Times(0, 0));
    proc.last_number(30);
    job.set(20);
    let time = tree.read(None);
    assert_eq!((ticks(&tree, time), time.complete), (10, true));
}

#[test]
fn numbers_that_start_again_from_the_lowest_are_found() {
    let proc = Proc::new();
    proc.process(20_000, 10, Times(10, 0));
    proc.last_number(20_000);
    let (mut tree, job) = proc.tree(None);
    job.set(20_000);
    tree.read(None);
    proc.process(300, 20_000, Times(7, 0));
    proc.last_number(300);
    let time = tree.read(None);
    assert_eq!((ticks(&tree, time), time.complete), (17, true));
}

#[test]
fn a_real_tree_of_short_processes_is_covered() {
    let job = JobProcess::default();
    let mut tree = ProcessTree::new(Kernel::default(), job.clone(), Some(std::process::id()));
    let script =
        "i=0; while [ $i -lt 20 ]; do sh -c 'j=0; while [ $j -lt 3000 ]; do j=$((j+1)); done'; i=$((i+1)); done";
    let mut child = std::process::Command::new("sh").args(["-c", script]).spawn().unwrap();
    job.set(child.id());
    tree.read(None);
    let before = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_CHILDREN).unwrap();
    child.wait().unwrap();
    let after = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_CHILDREN).unwrap();
    let microseconds = |usage: nix::sys::resource::Usage| {
        use nix::sys::time::TimeValLike;
        usage.user_time().num_microseconds() + usage.system_time().num_microseconds()
    };
    let truth = Duration::from_micros(u64::try_from(microseconds(after) - microseconds(before)).unwrap());
    let time = tree.read(None);
    assert!(time.complete);
    assert!(time.spent >= truth, "{time:?} is below {truth:?}");
}
