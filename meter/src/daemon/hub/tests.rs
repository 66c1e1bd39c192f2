//! A process that is scripted, clients that are queues, and time that is told.

use std::sync::{Arc, Mutex};

use super::*;
use crate::daemon::line::{MAX_WATCHED, Request};
use crate::daemon::runs::STAYS;
use crate::daemon::runs::tests::status;
use crate::device::nvml::ListedGpu;

mod lists;

const SECOND: Duration = Duration::from_secs(1);

/// Writes down what it is told.
#[derive(Clone, Default)]
struct Script(Arc<Mutex<Told>>);

#[derive(Default)]
struct Told {
    starts: u32,
    orders: Vec<Order>,
    refuses: bool,
}

impl Script {
    fn orders(&self) -> Vec<Order> {
        std::mem::take(&mut self.0.lock().unwrap().orders)
    }
}

impl Reader for Script {
    fn start(&mut self, _turn: u32) -> Result<(), String> {
        let mut told = self.0.lock().unwrap();
        told.starts += 1;
        if told.refuses { Err("no more processes".to_owned()) } else { Ok(()) }
    }

    fn order(&mut self, order: &Order) -> bool {
        self.0.lock().unwrap().orders.push(order.clone());
        true
    }

    fn end(&mut self) {}
}

struct Scene {
    hub: Hub<Script>,
    script: Script,
    now: Duration,
    turn: u32,
    joined: u64,
}

struct Caller {
    number: u64,
    lines: mpsc::Receiver<Vec<u8>>,
    dropped: oneshot::Receiver<()>,
}

impl Caller {
    fn answers(&mut self) -> Vec<Answer> {
        let mut answers = Vec::new();
        while let Ok(line) = self.lines.try_recv() {
            answers.push(serde_json::from_slice(&line).unwrap());
        }
        answers
    }

    fn count(&mut self) -> usize {
        std::iter::from_fn(|| self.lines.try_recv().ok()).count()
    }

    fn is_dropped(&mut self) -> bool {
        self.dropped.try_recv() == Err(oneshot::error::TryRecvError::Closed)
    }
}

fn listing() -> Listing {
    let gpu = |index: u32| ListedGpu { index, uuid: format!("GPU-{index}"), ..ListedGpu::default() };
    Listing::Gpus((0..8).map(gpu).collect())
}

fn reading() -> GpuReading {
    GpuReading { busy: Some(vec![(1_000_000, 5).into()]), ..GpuReading::default() }
}

impl Scene {
    /// A daemon whose process has listed the GPUs.
    fn begin() -> Self {
        let script = Script::default();
        let mut scene = Self { hub: Hub::new(script.clone(), 1000), script, now: SECOND, turn: 1, joined: 0 };
        scene.hub.tick(scene.now);
        scene.list();
        scene
    }

    fn hear(&mut self, heard: Heard) {
        self.hub.heard(self.turn, heard, self.now);
    }

    fn list(&mut self) {
        self.hear(Heard::Answer(Answer::Listed(listing())));
    }

    fn read(&mut self, count: usize) {
        self.hear(Heard::Answer(Answer::Read(vec![Ok(reading()); count])));
    }

    fn second(&mut self) {
        self.now += SECOND;
        self.hub.tick(self.now);
    }

    fn join(&mut self) -> Caller {
        let (sender, lines) = mpsc::channel(8);
        let (held, dropped) = oneshot::channel();
        self.joined += 1;
        self.hub.joined(self.joined, Client::new(sender, held, "ada".to_owned()), self.now);
        Caller { number: self.joined, lines, dropped }
    }

    /// A client that watches these.
    fn watch(&mut self, gpus: &[&str]) -> Caller {
        let mut caller = self.join();
        self.list();
        assert_eq!(caller.answers(), [Answer::Listed(listing())]);
        self.say(&caller, Request::Watch(gpus.iter().map(|gpu| (*gpu).to_owned()).collect()));
        self.script.orders();
        caller
    }

    fn say(&mut self, caller: &Caller, request: Request) {
        self.hub.said(caller.number, request, self.now);
    }
}

fn proves(answers: &[Answer]) -> Vec<usize> {
    let length = |reading: &Result<GpuReading, String>| reading.as_ref().unwrap().busy.as_ref().unwrap().len();
    let sum = |answer: &Answer| match answer {
        Answer::Read(readings) | Answer::Pushed { readings, .. } => readings.iter().map(length).sum(),
        _ => panic!("no reading"),
    };
    answers.iter().map(sum).collect()
}

#[test]
fn many_clients_make_one_reading_a_second() {
    let mut scene = Scene::begin();
    let mut callers: Vec<Caller> = (0..100).map(|_| scene.watch(&["GPU-3", "GPU-1"])).collect();
    let mut late = scene.watch(&["GPU-2"]);
    scene.second();
    let all = ["GPU-1", "GPU-2", "GPU-3"].map(str::to_owned).to_vec();
    assert_eq!(scene.script.orders(), [Order::Watch(all), Order::Read]);
    scene.read(3);
    scene.second();
    assert_eq!(scene.script.orders(), [Order::Read]);
    for caller in &mut callers {
        assert!(matches!(caller.answers().as_slice(), [Answer::Pushed { readings, .. }] if readings.len() == 2));
    }
    assert!(matches!(late.answers().as_slice(), [Answer::Pushed { readings, .. }] if readings.len() == 1));
    assert_eq!(scene.hub.figures.readings(), 1);
}

#[test]
fn nobody_who_watches_means_no_reading() {
    let mut scene = Scene::begin();
    let _silent = scene.join();
    scene.list();
    scene.script.orders();
    scene.second();
    assert_eq!(scene.script.orders(), []);
    let caller = scene.watch(&["GPU-0"]);
    scene.second();
    assert_eq!(scene.script.orders().last(), Some(&Order::Read));
    scene.read(1);
    scene.hub.left(caller.number, scene.now);
    scene.second();
    assert_eq!(scene.script.orders(), []);
}

#[test]
fn who_comes_later_is_told_nothing_of_the_time_before_and_the_others_miss_nothing() {
    let mut scene = Scene::begin();
    let mut first = scene.watch(&["GPU-0"]);
    for _ in 0..5 {
        scene.second();
        scene.read(1);
    }
    assert_eq!(proves(&first.answers()), [0, 0, 1, 1, 1]);
    let mut second = scene.watch(&["GPU-0"]);
    for _ in 0..4 {
        scene.second();
        scene.read(1);
    }
    assert_eq!(proves(&first.answers()), [1; 4]);
    assert_eq!(proves(&second.answers()), [0, 0, 1, 1]);
}

#[test]
fn a_reading_that_is_asked_for_is_made_soon_and_after_the_asking() {
    let mut scene = Scene::begin();
    let mut caller = scene.watch(&["GPU-0"]);
    let mut other = scene.watch(&["GPU-0"]);
    scene.second();
    // Asked for while one is under way, which began before.
    scene.now += Duration::from_millis(5);
    scene.say(&caller, Request::Read);
    scene.script.orders();
    scene.read(1);
    assert!(matches!(caller.answers().as_slice(), [Answer::Pushed { .. }]));
    assert_eq!(scene.hub.wakes_at(), Some(SECOND * 2 + LEAST_APART));
    scene.now += LEAST_APART;
    scene.hub.advance(scene.now);
    assert_eq!(scene.script.orders(), [Order::Read]);
    scene.read(1);
    assert!(matches!(caller.answers().as_slice(), [Answer::Read(_)]));
    assert!(other.answers().iter().all(|answer| matches!(answer, Answer::Pushed { .. })));
}

#[test]
fn who_asks_without_end_makes_two_readings_a_second_and_delays_nobody_else() {
    let mut scene = Scene::begin();
    let mut caller = scene.watch(&["GPU-0"]);
    let mut other = scene.watch(&["GPU-0"]);
    let (mut answered, mut told) = (0, 0);
    for millisecond in 0..10_000 {
        scene.now += Duration::from_millis(1);
        if millisecond % 1000 == 0 {
            scene.hub.tick(scene.now);
        }
        scene.say(&caller, Request::Read);
        if scene.script.orders().contains(&Order::Read) {
            scene.read(1);
        }
        scene.hub.advance(scene.now);
        answered += caller.answers().iter().filter(|answer| matches!(answer, Answer::Read(_))).count();
        told += other.count();
    }
    let at_most = 2 * 10 + usize::try_from(ASKED_READINGS).unwrap();
    assert!((10..=at_most).contains(&told) && (10..=told).contains(&answered), "{told} told, {answered} answered");
    scene.now += LEAST_APART;
    scene.script.orders();
    scene.say(&other, Request::Read);
    assert_eq!(scene.script.orders(), [Order::Read], "another one's haste is his own");
}

#[test]
fn a_slow_client_is_dropped_and_the_others_are_told_on() {
    let mut scene = Scene::begin();
    let mut slow = scene.watch(&["GPU-0"]);
    let mut quick = scene.watch(&["GPU-0"]);
    for _ in 0..20 {
        scene.second();
        scene.read(1);
        assert_eq!(quick.answers().len(), 1);
    }
    assert!(slow.is_dropped() && !quick.is_dropped());
    assert_eq!(scene.hub.figures.dropped(Dropped::Slow), 1);
}

#[test]
fn who_watches_what_is_not_there_or_another_ones_run_is_shown_out() {
    let mut scene = Scene::begin();
    for request in [
        Request::Watch(vec!["GPU-99".to_owned()]),
        Request::Watch((0..=MAX_WATCHED).map(|gpu| format!("GPU-{gpu}")).collect()),
        Request::Watch(vec!["GPU-0".to_owned(); 2]),
        Request::Processes(vec!["GPU-0".to_owned(); 2]),
        Request::Read,
        Request::Status(Box::new(status("a\"b"))),
    ] {
        let mut caller = scene.join();
        scene.list();
        scene.say(&caller, request);
        assert!(caller.is_dropped());
    }
    assert_eq!(scene.hub.figures.dropped(Dropped::Broken), 6);
    assert!(scene.hub.clients.is_empty());
}

#[test]
fn a_gpu_that_vanishes_costs_nobody_the_daemon_and_one_that_comes_is_told_to_all_who_watch() {
    let mut scene = Scene::begin();
    let mut caller = scene.watch(&["GPU-0"]);
    scene.second();
    scene.read(1);
    let Listing::Gpus(mut left) = listing() else { unreachable!() };
    let gone = left.pop().unwrap();
    scene.hear(Heard::Answer(Answer::Listed(Listing::Gpus(left.clone()))));
    assert_eq!(caller.answers().last(), Some(&Answer::Listed(Listing::Gpus(left))));
    // What it found when it was there is still what it asks about.
    scene.say(&caller, Request::Processes(vec![gone.uuid.clone()]));
    scene.say(&caller, Request::Watch(vec!["GPU-0".to_owned(), gone.uuid]));
    scene.list();
    scene.list();
    assert_eq!(caller.answers(), [Answer::Listed(listing())], "what has not changed is not told again");
    scene.hear(Heard::Ended);
    scene.say(&caller, Request::Watch(vec!["GPU-0".to_owned(), "GPU-1".to_owned()]));
    assert!(!caller.is_dropped());
}

#[test]
fn a_process_that_ends_is_started_again_ever_more_rarely_and_watchers_are_told() {
    let mut scene = Scene::begin();
    let mut caller = scene.watch(&["GPU-0"]);
    scene.second();
    scene.hear(Heard::Ended);
    scene.script.0.lock().unwrap().refuses = true;
    for _ in 0..100 {
        scene.second();
        assert!(matches!(caller.answers().as_slice(), [Answer::Pushed { readings, .. }] if readings[0].is_err()));
    }
    let starts = scene.script.0.lock().unwrap().starts;
    assert!((5..=9).contains(&starts), "{starts}");
    scene.script.0.lock().unwrap().refuses = false;
    while !matches!(scene.hub.state, State::Listing { .. }) {
        scene.second();
        caller.answers();
    }
    scene.turn = scene.hub.turn;
    scene.script.orders();
    scene.list();
    assert_eq!(scene.script.orders(), [Order::Watch(vec!["GPU-0".to_owned()]), Order::Read]);
    // What the process before says by now is not heard.
    scene.turn = 1;
    scene.hear(Heard::Ended);
    assert!(matches!(scene.hub.state, State::Reading { .. }));
}

#[test]
fn a_process_that_hangs_is_given_up() {
    let mut scene = Scene::begin();
    let mut caller = scene.watch(&["GPU-0"]);
    for _ in 0..=HANGS_AFTER.as_secs() + 1 {
        scene.second();
    }
    assert!(matches!(&caller.answers()[0], Answer::Pushed { readings, .. } if readings[0] == Err(HANGS.to_owned())));
    assert!(matches!(scene.hub.state, State::Away { .. } | State::Listing { .. }));
}

/// The machine slept for a minute: what is pushed then was made then, by the clock that runs on meanwhile.
#[test]
fn what_is_pushed_after_a_suspension_is_dated_after_it() {
    let mut scene = Scene::begin();
    let mut caller = scene.watch(&["GPU-1"]);
    let mut pushed_at = |scene: &mut Scene| {
        scene.second();
        scene.read(1);
        let answers = caller.answers();
        let [Answer::Pushed { at_nanoseconds, .. }] = answers.as_slice() else { panic!("{answers:?}") };
        *at_nanoseconds
    };
    let before = pushed_at(&mut scene);
    scene.hub.keep_time(scene.now, before + 60_000_000_000);
    assert_eq!(pushed_at(&mut scene), before + 61_000_000_000);
}

#[test]
fn without_a_driver_a_client_is_told_so_at_once() {
    let script = Script::default();
    let mut hub = Hub::new(script.clone(), 1000);
    hub.tick(SECOND);
    let listing = Listing::Unavailable { reason: "no library".to_owned() };
    hub.heard(1, Heard::Answer(Answer::Listed(listing.clone())), SECOND);
    hub.heard(1, Heard::Ended, SECOND);
    let mut scene = Scene { hub, script, now: SECOND, turn: 1, joined: 0 };
    let mut caller = scene.join();
    assert_eq!(caller.answers(), [Answer::Listed(listing)]);
}

/// A day of readings, jobs that come and go, and statuses: nothing that is kept grows.
#[test]
fn a_day_leaves_nothing_behind() {
    const DAY: u32 = 86_400;
    let mut scene = Scene::begin();
    let mut steady = scene.watch(&["GPU-0", "GPU-1", "GPU-2", "GPU-3", "GPU-4", "GPU-5", "GPU-6", "GPU-7"]);
    let mut passing: Vec<Caller> = Vec::new();
    for second in 0..DAY {
        scene.second();
        if scene.script.orders().contains(&Order::Read) {
            scene.read(8);
        }
        assert_eq!(steady.count(), 1, "second {second}");
        for caller in &mut passing {
            caller.count();
        }
        // A job of two minutes begins every forty seconds.
        if second % 40 != 0 {
            continue;
        }
        let caller = scene.join();
        scene.list();
        scene.say(&caller, Request::Watch(vec!["GPU-1".to_owned()]));
        scene.say(&caller, Request::Status(Box::new(status(&format!("run-{second}")))));
        passing.push(caller);
        if passing.len() > 3 {
            scene.hub.left(passing.remove(0).number, scene.now);
        }
        let kept = (scene.hub.clients.len(), scene.hub.runs.iter().count(), scene.hub.watched.len());
        // Those of two minutes and those that ended in the last ten.
        assert!(kept.0 <= 5 && kept.1 <= 20 && kept.2 <= 8, "second {second}: {kept:?}");
    }
    assert!(scene.hub.figures.readings() >= u64::from(DAY) - 1);
    assert!(scene.hub.runs.iter().count() > 15);
    for caller in passing {
        scene.hub.left(caller.number, scene.now);
    }
    scene.now += STAYS;
    scene.second();
    assert_eq!((scene.hub.clients.len(), scene.hub.runs.iter().count()), (1, 0));
}
