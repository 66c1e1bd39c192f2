//! Lists of processes: asked of the driver once for all who wait.

use super::*;

fn names(gpus: &[&str]) -> Vec<String> {
    gpus.iter().map(|gpu| (*gpu).to_owned()).collect()
}

/// Each GPU is used by the process whose number is ten times its place.
fn lists(count: u32) -> Heard {
    let list = |place| Ok(vec![GpuProcess { pid: 10 * place, sm_percent: None }]);
    Heard::Answer(Answer::Processes((0..count).map(list).collect()))
}

fn pids(answers: &[Answer]) -> Vec<Result<u32, &str>> {
    let [Answer::Processes(lists)] = answers else { panic!("no lists: {answers:?}") };
    lists.iter().map(|list| list.as_ref().map(|list| list[0].pid).map_err(String::as_str)).collect()
}

#[test]
fn many_who_ask_are_answered_from_one_list_and_each_about_its_own_gpus() {
    let mut scene = Scene::begin();
    let mut one = scene.watch(&["GPU-2"]);
    let mut other = scene.watch(&["GPU-2"]);
    scene.second();
    // While a reading is under way.
    scene.say(&one, Request::Processes(names(&["GPU-3", "GPU-1"])));
    scene.say(&other, Request::Processes(names(&["GPU-1"])));
    scene.read(1);
    assert_eq!(scene.script.orders().last(), Some(&Order::Processes(names(&["GPU-1", "GPU-3"]))));
    one.answers();
    other.answers();
    scene.hear(lists(2));
    assert_eq!(pids(&one.answers()), [Ok(10), Ok(0)]);
    assert_eq!(pids(&other.answers()), [Ok(0)]);
    // What is asked at once again waits a little.
    scene.say(&one, Request::Processes(names(&["GPU-0"])));
    assert_eq!(scene.script.orders(), []);
    scene.now = scene.hub.wakes_at().unwrap();
    scene.hub.advance(scene.now);
    assert_eq!(scene.script.orders(), [Order::Processes(names(&["GPU-0"]))]);
}

#[test]
fn lists_put_no_reading_off() {
    let mut scene = Scene::begin();
    let caller = scene.watch(&["GPU-0"]);
    scene.say(&caller, Request::Processes(names(&["GPU-0"])));
    scene.second();
    scene.hear(lists(1));
    assert_eq!(scene.script.orders().last(), Some(&Order::Read));
}

#[test]
fn a_process_that_is_lost_over_lists_is_asked_for_no_more_of_them_for_a_while() {
    let mut scene = Scene::begin();
    let mut caller = scene.watch(&["GPU-0"]);
    for _ in 0..2 {
        scene.say(&caller, Request::Processes(names(&["GPU-0", "GPU-7"])));
        assert_eq!(scene.script.orders().last(), Some(&Order::Processes(names(&["GPU-0", "GPU-7"]))));
        scene.hear(Heard::Ended);
        assert_eq!(pids(&caller.answers()), [Err(ENDED); 2]);
        while !matches!(scene.hub.state, State::Listing { .. }) {
            scene.second();
            caller.answers();
        }
        scene.turn = scene.hub.turn;
        scene.list();
        scene.read(1);
        caller.answers();
    }
    scene.say(&caller, Request::Processes(names(&["GPU-0"])));
    assert!(pids(&caller.answers())[0].is_err_and(|reason| reason.contains("lists no processes for a while")));
    assert!(!caller.is_dropped());
    // Whoever comes ten minutes later finds a driver that is well.
    for _ in 0..600 {
        scene.second();
        scene.read(1);
        caller.count();
    }
    scene.script.orders();
    for _ in 0..3 {
        scene.say(&caller, Request::Processes(names(&["GPU-0"])));
        assert_eq!(scene.script.orders(), [Order::Processes(names(&["GPU-0"]))]);
        scene.hear(lists(1));
        assert_eq!(pids(&caller.answers()), [Ok(0)]);
        scene.second();
        scene.read(1);
        caller.count();
        scene.script.orders();
    }
}

#[test]
fn who_asks_while_the_driver_is_away_waits_for_its_return() {
    let mut scene = Scene::begin();
    let mut caller = scene.watch(&["GPU-0"]);
    scene.hear(Heard::Ended);
    scene.say(&caller, Request::Processes(names(&["GPU-0"])));
    assert!(!caller.is_dropped());
    while !matches!(scene.hub.state, State::Listing { .. }) {
        scene.second();
    }
    scene.turn = scene.hub.turn;
    scene.list();
    scene.read(1);
    assert_eq!(scene.script.orders().last(), Some(&Order::Processes(names(&["GPU-0"]))));
    caller.answers();
    scene.hear(lists(1));
    assert_eq!(pids(&caller.answers()), [Ok(0)]);
}

#[test]
fn who_leaves_is_not_asked_for() {
    let mut scene = Scene::begin();
    let caller = scene.watch(&["GPU-0"]);
    let mut unknown = scene.watch(&["GPU-0"]);
    scene.second();
    scene.say(&caller, Request::Processes(names(&["GPU-5"])));
    scene.hub.left(caller.number, scene.now);
    scene.say(&unknown, Request::Processes(names(&["GPU-99"])));
    assert!(unknown.is_dropped());
    scene.script.orders();
    scene.read(1);
    assert_eq!(scene.script.orders(), []);
}
