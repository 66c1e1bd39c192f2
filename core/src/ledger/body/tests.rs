//! Every kind survives its text.

use chrono::DateTime;

use super::*;
use crate::alert::{Key, Level, What};
use crate::facts::{Fed, Passes, Phase, Process, Progress};
use crate::sample::{DeviceFacts, Reading, Sample};
use crate::unit::Flops;

fn one_of_each() -> Vec<Body> {
    let process = Process { pid: 7, host: "node".to_owned(), rank: 1, local_rank: 1, world_size: 2 };
    let passes = Passes { real_tokens: Some(20_000), ..Passes::text(Phase::Training, true, 4, 512, 10) };
    let fed = HookMessage::Fed(Fed { model: 0, passes: vec![passes] });
    let base = BaseReference::Registry { id: "x".to_owned(), digest: "0".to_owned() };
    let facts = DeviceFacts::Unreadable { reason: "t".to_owned() };
    let device = Device { id: "GPU-1".to_owned(), name: "g".to_owned(), facts };
    let sample = Sample {
        device: "GPU-1".to_owned(),
        started: DateTime::UNIX_EPOCH,
        duration_nanoseconds: u64::MAX,
        reading: Reading::Missing { reason: "t".to_owned() },
    };
    let answer = Answer { value: true.into(), by: "Ada".to_owned(), date: NaiveDate::MIN };
    let alert = Alert { at: DateTime::UNIX_EPOCH, verdict: "near".to_owned(), text: "t".to_owned(), crossing: None };
    let key = Key { line: "third-of-base:1300".to_owned(), what: What::Forecast, level: Level::Share(80) };
    vec![
        Body::RunOpened(RunOpened { run: "a".to_owned(), command: vec!["true".to_owned()], ..RunOpened::default() }),
        Body::SegmentOpened(SegmentOpened { segment: 1, pid: 9, ..SegmentOpened::default() }),
        Body::BaseBound(BaseBound { base: base.clone() }),
        Body::DevicesSeen(DevicesSeen { devices: vec![device] }),
        Body::LaunchSeen(LaunchSeen { variable: "WORLD_SIZE".to_owned(), all: 4, here: Some(2), numbers: vec![0, 1] }),
        Body::Samples(Samples { samples: vec![sample] }),
        Body::Hook(Hook { connection: 3, message: HookMessage::Hello { protocol: 1, process } }),
        Body::Hook(Hook { connection: 3, message: fed }),
        Body::Hook(Hook { connection: 3, message: HookMessage::Goodbye }),
        Body::HookLost(HookLost { connection: 3, reason: "cut".to_owned() }),
        Body::Finding(Finding { code: "base-unknown".to_owned(), text: "t".to_owned() }),
        Body::Alert(alert),
        Body::SegmentClosed(SegmentClosed {
            segment: 1,
            ended: DateTime::UNIX_EPOCH,
            exit: Some(Exit::Signal(9)),
            cpu_time_nanoseconds: 1_000_000,
            left_running: false,
        }),
        Body::RunClosed(RunClosed {}),
        Body::RunForked(RunForked { run: "b".to_owned(), sequence: 7, previous: Digest::NONE, first: Digest([9; 32]) }),
        Body::Answered(Answered { question: AnswerKey::BaseIsGpai, answer }),
        Body::ModificationCreated(ModificationCreated { slug: "m".to_owned(), base: Some(base.clone()) }),
        Body::RunAssigned(RunAssigned { run: "a".to_owned() }),
        Body::RunUnassigned(RunUnassigned { run: "a".to_owned() }),
        Body::RunExcluded(RunExcluded {
            run: "a".to_owned(),
            reason: "diverged".to_owned(),
            by: "Ada".to_owned(),
            date: NaiveDate::MIN,
        }),
        Body::RunIncluded(RunIncluded {
            run: "a".to_owned(),
            reason: "used after all".to_owned(),
            by: "Ada".to_owned(),
            date: NaiveDate::MIN,
        }),
        Body::Reserved(Reserved { reservation: "b".to_owned(), flop: Flops(u128::MAX), ..Reserved::default() }),
        Body::ReservationTaken(ReservationTaken { reservation: "b".to_owned(), run: "a".to_owned(), job: None }),
        Body::ReservationSettled(ReservationSettled {
            reservation: "b".to_owned(),
            run: "a".to_owned(),
            spent: Flops(2),
            released: Flops(1),
            overrun: Flops::ZERO,
        }),
        Body::ReservationReleased(ReservationReleased {
            reservation: "b".to_owned(),
            by: "Ada".to_owned(),
            date: NaiveDate::MIN,
        }),
        Body::LevelsSaid(LevelsSaid {
            run: "a".to_owned(),
            id: "1".to_owned(),
            keys: vec![key.clone()],
            sinks: Some(vec!["s".to_owned()]),
            until: Some(DateTime::UNIX_EPOCH),
        }),
        Body::LevelsHeard(LevelsHeard { run: "a".to_owned(), id: "1".to_owned(), sinks: vec!["s".to_owned()] }),
        Body::LevelsMissed(LevelsMissed { run: "a".to_owned(), id: "1".to_owned(), sinks: vec!["s".to_owned()] }),
        Body::LevelsLeft(LevelsLeft { run: "a".to_owned(), keys: vec![key] }),
        Body::ModificationCreated(ModificationCreated {
            slug: "n".to_owned(),
            base: Some(BaseReference::Modification { slug: "m".to_owned() }),
        }),
        Body::ModificationRebased(ModificationRebased {
            base: base.clone(),
            reason: "a slip of the hand".to_owned(),
            by: "Ada".to_owned(),
            date: NaiveDate::MIN,
        }),
        Body::ModificationClosed(ModificationClosed { by: "Ada".to_owned(), date: NaiveDate::MIN }),
        Body::ModificationMerged(ModificationMerged {
            slug: "n".to_owned(),
            merge: Merge {
                of: vec![base.clone(), BaseReference::Modification { slug: "m".to_owned() }],
                parent: Some(base.clone()),
                by: "Ada".to_owned(),
                date: NaiveDate::MIN,
            },
        }),
    ]
}

#[test]
fn every_kind_survives_its_text() {
    for body in one_of_each() {
        let text = body.to_text().unwrap();
        assert_eq!(Body::read(body.kind(), &text), body, "{text}");
    }
}

#[test]
fn the_text_is_always_the_same() {
    let progress = Progress { step: 2, first_step: 0, max_steps: Some(3) };
    let body = Body::Hook(Hook { message: HookMessage::Progress(progress), connection: 1 });
    let text = r#"{"connection":1,"message":{"message":"progress","step":2,"first_step":0,"max_steps":3}}"#;
    assert_eq!(body.to_text().unwrap(), text);
    let closed = Body::SegmentClosed(SegmentClosed {
        segment: 0,
        ended: DateTime::UNIX_EPOCH,
        exit: Some(Exit::Code(37)),
        cpu_time_nanoseconds: 5,
        left_running: false,
    });
    assert_eq!(
        closed.to_text().unwrap(),
        r#"{"segment":0,"ended":"1970-01-01T00:00:00Z","exit":{"code":37},"cpu_time_nanoseconds":5,"left_running":false}"#
    );
}

#[test]
fn what_is_not_understood_is_kept() {
    let unknown = Body::read("from-the-future", "{\"a\": 1}");
    assert_eq!(unknown.kind(), "from-the-future");
    assert_eq!(unknown.to_text().unwrap(), "{\"a\": 1}");

    let changed = Body::read("run-assigned", "[]");
    assert!(matches!(&changed, Body::Unread { cause: Some(_), .. }), "{changed:?}");
    assert_eq!((changed.kind(), changed.to_text().unwrap().as_str()), ("run-assigned", "[]"));
}

#[test]
fn fields_from_the_future_do_not_hinder_reading() {
    let body = Body::read("run-assigned", r#"{"run":"a","by":"somebody"}"#);
    assert_eq!(body, Body::RunAssigned(RunAssigned { run: "a".to_owned() }));
}

#[test]
fn alerts_of_versions_without_levels_are_read() {
    let text = r#"{"at":"1970-01-01T00:00:00Z","verdict":"near","text":"t"}"#;
    let alert = Alert { at: DateTime::UNIX_EPOCH, verdict: "near".to_owned(), text: "t".to_owned(), crossing: None };
    assert_eq!(Body::read("alert", text), Body::Alert(alert.clone()));
    assert_eq!(Body::Alert(alert).to_text().unwrap(), text);
}
