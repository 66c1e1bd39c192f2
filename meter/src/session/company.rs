//! What the other runs of a modification, and of those behind it, may spend while this one goes on: a line is crossed by all of them
//! together.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use chrono::{DateTime, Utc};
use flopsmeter_core::assess::Spent;
use flopsmeter_core::budget::ToCome;
use flopsmeter_core::judge::Judge;
use flopsmeter_core::run::{RunState, RunSummary};
use flopsmeter_core::unit::Flops;

use super::siblings::{PERIOD, Standing};

/// Least time between two readings of the others, and time within which one is made once it is due.
const LEAST_PAUSE: Duration = Duration::from_secs(1);

/// How much faster than ever before the others are taken to become until they are read again.
const CAUTION: u128 = 4;

/// Stretches of a run whose pace is kept.
const RECENT: usize = 8;

/// Stretches from which a pace can be told.
const SETTLED: usize = 4;

/// Shorter ones say more of when entries were committed than of the run's pace.
const SHORTEST_STRETCH: Duration = Duration::from_millis(1500);

/// The runs that go on beside this one, and what is set aside.
#[derive(Debug, Default)]
pub(super) struct Company {
    runs: BTreeMap<String, Mate>,
    /// Held of reservations that no run which goes on is spending.
    unspent: ToCome,
}

/// Another run.
#[derive(Debug)]
struct Mate {
    /// The modification behind that it is of; `None` for one of the modification itself.
    behind: Option<String>,
    training: Flops,
    /// Time of this session as of which that is so.
    seen: Duration,
    /// Where the stretch began that is being seen.
    since: (Flops, Duration),
    recent: VecDeque<Stretch>,
    /// What is held for it and not spent yet.
    held: Flops,
}

#[derive(Clone, Copy, Debug)]
struct Stretch {
    grown: Flops,
    time: Duration,
}

impl Stretch {
    /// What is done in `span` at this pace, rounded up.
    fn within(self, span: Duration) -> Flops {
        let (time, span) = (self.time.as_millis().max(1), span.as_millis());
        let (whole, rest) = (self.grown.0 / time, self.grown.0 % time);
        // `rest < time`, and both spans are of sessions: their product is far from 128 bits.
        Flops(whole.saturating_mul(span).saturating_add(rest.saturating_mul(span).div_ceil(time)))
    }
}

impl Company {
    /// Takes a reading of the others that began at `seen`, when the date was `now`. `own` is this run.
    pub(super) fn observe(
        &mut self,
        judge: &Judge,
        (others, behind): (&Standing, &BTreeMap<String, Standing>),
        own: &str,
        (seen, now): (Duration, DateTime<Utc>),
    ) {
        self.unspent = ToCome::default();
        let all = || core::iter::once((None, others)).chain(behind.iter().map(|(slug, one)| (Some(slug), one)));
        let is_open = |id: &String| {
            all().any(|(_, one)| one.runs.iter().any(|run| run.run == *id && run.state == RunState::Open))
        };
        self.runs.retain(|id, _| is_open(id));
        for (slug, standing) in all() {
            self.observe_one(judge, (slug, standing), own, (seen, now));
        }
    }

    /// Takes the part of a reading that is about one modification.
    fn observe_one(
        &mut self,
        judge: &Judge,
        (slug, standing): (Option<&String>, &Standing),
        own: &str,
        (seen, now): (Duration, DateTime<Utc>),
    ) {
        let find = |id: &str| standing.runs.iter().find(|run| run.run == id);
        let mut held = BTreeMap::<&str, Flops>::new();
        for one in standing.reservations.iter().filter(|one| !one.is_taken_by(own)) {
            let left = one.held(judge.rules, &find, now.date_naive());
            let spender = one.runs.iter().find(|taker| find(&taker.run).is_some_and(|run| run.state == RunState::Open));
            match spender {
                Some(taker) => *held.entry(&taker.run).or_default() += left,
                None => self.unspent.add(slug.map(String::as_str), left),
            }
        }
        for run in standing.runs.iter().filter(|run| run.state == RunState::Open) {
            let training = Spent::of_runs(judge.rules, [run]).training.unwrap_or_default();
            let mate = self.runs.entry(run.run.clone()).or_insert_with(|| Mate::new(run, training, seen, now));
            mate.see(training, seen);
            mate.behind = slug.cloned();
            mate.held = held.get(run.run.as_str()).copied().unwrap_or_default();
        }
    }

    /// Whether another run goes on.
    pub(super) fn is_any(&self) -> bool {
        !self.runs.is_empty()
    }

    /// What is held for others and not spent yet.
    pub(super) fn reserved(&self) -> ToCome {
        self.to_come(|mate| mate.held)
    }

    /// What may be added to what was read of the others by `then`, a time of this session: what is held for them, or what they do at
    /// their fastest where that is more.
    pub(super) fn ahead(&self, then: Duration) -> ToCome {
        self.to_come(|mate| mate.held.max(mate.grown(then)))
    }

    /// What no run is spending, and `of` each that goes on.
    fn to_come(&self, of: impl Fn(&Mate) -> Flops) -> ToCome {
        let mut all = self.unspent.clone();
        for mate in self.runs.values() {
            all.add(mate.behind.as_deref(), of(mate));
        }
        all
    }

    /// How long the others need not be read, where so much is left until the next level.
    pub(super) fn pause(&self, left: Option<Flops>) -> Duration {
        let Some(left) = left.filter(|_| self.is_any()) else { return PERIOD };
        // What has begun lately has not shown yet how fast it is.
        if self.runs.values().any(|mate| mate.training == Flops::ZERO || mate.recent.len() < SETTLED) {
            return LEAST_PAUSE;
        }
        let is_safe = |span: &Duration| {
            let grown: Flops = self.runs.values().map(|mate| mate.fastest(*span)).sum();
            grown.0.saturating_mul(CAUTION) < left.0
        };
        [PERIOD, PERIOD / 6].into_iter().find(is_safe).unwrap_or(LEAST_PAUSE)
    }
}

impl Mate {
    /// The first stretch is all of its time so far.
    fn new(run: &RunSummary, training: Flops, seen: Duration, now: DateTime<Utc>) -> Self {
        let time = (now - run.started).to_std().unwrap_or_default().max(LEAST_PAUSE);
        let first = Stretch { grown: training, time };
        let (since, recent) = ((training, seen), VecDeque::from([first]));
        Self { behind: None, training, seen, since, recent, held: Flops::ZERO }
    }

    fn see(&mut self, training: Flops, seen: Duration) {
        let (before, since) = self.since;
        (self.training, self.seen) = (training, seen);
        let time = seen.saturating_sub(since);
        if time < SHORTEST_STRETCH {
            return;
        }
        self.recent.push_back(Stretch { grown: Flops(training.0.saturating_sub(before.0)), time });
        if self.recent.len() > RECENT {
            self.recent.pop_front();
        }
        self.since = (training, seen);
    }

    fn fastest(&self, span: Duration) -> Flops {
        // What is seen at present may be faster than any whole stretch, and is no shorter than a pause.
        let (before, since) = self.since;
        let time = self.seen.saturating_sub(since).max(LEAST_PAUSE);
        let present = Stretch { grown: Flops(self.training.0.saturating_sub(before.0)), time };
        let all = self.recent.iter().chain([&present]);
        all.map(|stretch| stretch.within(span)).max().unwrap_or_default()
    }

    fn grown(&self, then: Duration) -> Flops {
        self.fastest(then.saturating_sub(self.seen))
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use flopsmeter_core::assess::Answers;
    use flopsmeter_core::budget::Reservation;
    use flopsmeter_core::ledger::Body;
    use flopsmeter_core::ledger::body::{ReservationTaken, Reserved};
    use flopsmeter_core::rules::RuleSet;
    use flopsmeter_core::run::RunFlops;
    use flopsmeter_core::tally::Tally;

    use super::*;

    fn started() -> DateTime<Utc> {
        DateTime::from_timestamp(1_795_000_000, 0).unwrap()
    }

    fn run(id: &str, training: u128) -> RunSummary {
        let flops = RunFlops { training: Flops(training), forward: Flops(training), ..RunFlops::default() };
        let state = RunState::Open;
        RunSummary { run: id.to_owned(), started: started(), flops: Some(flops), state, ..Tally::new().summary() }
    }

    fn reservations(of: Option<&str>) -> Vec<Reservation> {
        let mut all = Vec::new();
        let reserved = Reserved { reservation: "x".to_owned(), flop: Flops(500), ..Reserved::default() };
        Reservation::apply(&mut all, started(), &Body::Reserved(reserved));
        if let Some(run) = of {
            let taken = ReservationTaken { reservation: "x".to_owned(), run: run.to_owned(), job: None };
            Reservation::apply(&mut all, started(), &Body::ReservationTaken(taken));
        }
        all
    }

    fn observe(company: &mut Company, seconds: u64, others: &[RunSummary], reservations: &[Reservation]) {
        let own = Standing { runs: others.to_vec(), reservations: reservations.to_vec(), ..Standing::default() };
        observe_all(company, seconds, &own, &BTreeMap::new());
    }

    fn observe_all(company: &mut Company, seconds: u64, own: &Standing, behind: &BTreeMap<String, Standing>) {
        let as_of = started().date_naive();
        let rules = RuleSet::in_force(as_of).unwrap();
        let judge = Judge { base: None, rules, as_of, answers: Answers::default(), ancestry: None };
        let now = started() + TimeDelta::seconds(i64::try_from(seconds).unwrap());
        company.observe(&judge, (own, behind), "own", (Duration::from_secs(seconds), now));
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn ahead(company: &Company, then: u64) -> u128 {
        company.ahead(seconds(then)).own.0
    }

    fn reserved(company: &Company) -> u128 {
        company.reserved().own.0
    }

    #[test]
    fn the_others_go_on_at_their_fastest() {
        let mut company = Company::default();
        assert_eq!((company.is_any(), ahead(&company, 999)), (false, 0));
        observe(&mut company, 100, &[run("a", 1000)], &[]);
        assert_eq!(ahead(&company, 105), 50, "at what it did since its start");
        observe(&mut company, 102, &[run("a", 1200)], &[]);
        assert_eq!((ahead(&company, 102), ahead(&company, 105)), (0, 300));
        observe(&mut company, 110, &[run("a", 1200)], &[]);
        assert_eq!(ahead(&company, 111), 100, "it may be as fast again");
        let ended = RunSummary { state: RunState::Closed, ..run("a", 1200) };
        observe(&mut company, 120, &[ended], &[]);
        assert_eq!((company.is_any(), ahead(&company, 999)), (false, 0));
    }

    #[test]
    fn what_is_to_come_behind_is_told_apart() {
        let mut company = Company::default();
        let parent = Standing { runs: vec![run("p", 1000)], reservations: reservations(None), ..Standing::default() };
        let behind = BTreeMap::from([("v1".to_owned(), parent)]);
        observe_all(&mut company, 100, &Standing::default(), &behind);
        assert!(company.is_any(), "a run of the modification behind goes on");
        assert_eq!((company.reserved().own, company.reserved().behind["v1"]), (Flops::ZERO, Flops(500)));
        assert_eq!(company.ahead(seconds(105)).behind["v1"], Flops(550), "10 a second, and what is set aside");
        assert_eq!(company.pause(Some(Flops(1_000_000))), seconds(1));
        observe_all(&mut company, 110, &Standing::default(), &BTreeMap::new());
        assert!(!company.is_any() && company.reserved() == ToCome::default(), "it is no longer behind");
    }

    #[test]
    fn what_is_held_counts_where_it_is_more() {
        let mut company = Company::default();
        observe(&mut company, 100, &[run("a", 100)], &reservations(Some("a")));
        assert_eq!((reserved(&company), ahead(&company, 200)), (400, 400));
        assert_eq!(ahead(&company, 1000), 900, "it does not keep to it");
        observe(&mut company, 110, &[run("a", 110)], &reservations(None));
        assert_eq!((reserved(&company), ahead(&company, 110)), (500, 500), "for a run to come");
        observe(&mut company, 120, &[run("a", 120)], &reservations(Some("own")));
        assert_eq!(reserved(&company), 0, "what is held for this run is no other's");
    }

    #[test]
    fn the_others_are_read_as_often_as_they_are_fast() {
        let mut company = Company::default();
        assert_eq!(company.pause(Some(Flops(1))), PERIOD, "nobody is there");
        observe(&mut company, 100, &[run("a", 1000)], &[]);
        assert_eq!(company.pause(Some(Flops(1_000_000))), seconds(1), "it may become faster");
        for second in [110, 120, 130] {
            observe(&mut company, second, &[run("a", 10 * u128::from(second))], &[]);
        }
        // Ten in a second, taken fourfold.
        assert_eq!(company.pause(Some(Flops(2401))), seconds(60));
        assert_eq!(company.pause(Some(Flops(2400))), seconds(10));
        assert_eq!(company.pause(Some(Flops(400))), seconds(1));
        assert_eq!(company.pause(None), PERIOD, "no line, or nothing that could still be crossed");
    }
}
