//! What is missing, and what a reader has to know besides the numbers.

use super::lines::Case;
use super::reasoning::Conclusion;
use super::{AnswerKey, Finding, LineKind, Missing, NotificationClock, Status, Verdict, WatchState};

/// The row of the decision table that closes the way out by internal use; the finding bears its name.
const INTERNAL_USE: &str = "internal-use-with-systemic-risk";

impl Conclusion<'_, '_> {
    /// What is missing, the verdict's needs first.
    pub(super) fn missing(&self) -> Vec<Missing> {
        let mut facts: Vec<&str> = Vec::new();
        if self.question.spent.training.is_none() || !self.question.spent.complete {
            facts.push("operations");
        } else if self.judgement.amounts.is_none() && self.lines.needs_cumulative() {
            facts.push("cumulative-operations");
        }
        if self.judgement.verdict == Verdict::Undetermined || matches!(self.lines.case, Case::NoBase | Case::Unknown) {
            facts.extend(self.lines.deciding);
        }
        if self.lines.case == Case::Unknowable && self.base.is_some_and(|base| base.has_systemic_risk.is_none()) {
            facts.push(AnswerKey::BaseHasSystemicRisk.name());
        }
        if self.ruling.status == Status::Open {
            let open = self.ruling.open.iter().map(|key| key.name());
            let unnamed: Vec<&str> = open.filter(|name| !facts.contains(name)).collect();
            facts.extend(unnamed);
        }
        let has_figure = self.base.is_some_and(|base| base.flop.is_some());
        let missing = |fact: &str| Missing { fact: fact.to_owned(), next_step: next_step(fact, has_figure) };
        facts.into_iter().map(missing).collect()
    }

    /// What a reader has to know besides the numbers.
    pub(super) fn findings(&self) -> Vec<Finding> {
        let mut findings = self.base.map(|base| base.findings.clone()).unwrap_or_default();
        let mut find = |code: &str, text: String| findings.push(Finding { code: code.to_owned(), text });
        self.find_about_base(&mut find);
        self.find_about_spent(&mut find);
        if self.ruling.applies(INTERNAL_USE) {
            find(
                INTERNAL_USE,
                "The result is declared not to be placed on the Union market. Purely internal use does not take a model with systemic risk out, and this one has or may have systemic risk: have it reviewed.".to_owned(),
            );
        }
        if self.watch.state == WatchState::OverBySum {
            find(
                "systemic-risk-watch",
                format!(
                    "Base and modification together are over the compute at which systemic risk is presumed, and the base alone is not: have it reviewed, {}.",
                    time_to_notify(self.watch.clock.as_ref())
                ),
            );
        }
        let of_base = matches!(self.watch.state, WatchState::BaseHasIt | WatchState::BaseDenied);
        if let Some(clock) = self.watch.clock.as_ref().filter(|_| of_base) {
            find(
                "systemic-risk-notification",
                format!(
                    "A model {} systemic risk was modified over its line: have the notification {}, {}.",
                    if self.watch.state == WatchState::BaseHasIt { "with" } else { "that is presumed to have" },
                    if clock.conditional { "reviewed" } else { "made" },
                    time_to_notify(Some(clock))
                ),
            );
        }
        for contradiction in self.contradictions {
            find(
                "answers-contradict",
                format!(
                    "The answers to {} cannot all be true: {} Have one of them corrected.",
                    contradiction.keys.join(" and "),
                    contradiction.says
                ),
            );
        }
        self.find_excluded(&mut find);
        findings
    }

    fn find_about_base(&self, find: &mut impl FnMut(&str, String)) {
        let Some(base) = self.base else { return };
        let name = base.name;
        let exceeds = self.judgement.verdict == Verdict::Exceeds;
        if exceeds && self.headline.is_some_and(|line| line.line.kind == LineKind::ThirdOfLowerBound) {
            find(
                "lower-bound-line",
                format!(
                    "The line is a third of a lower bound of {name}'s compute: have that figure reviewed, for the true line may be higher."
                ),
            );
        }
        let in_doubt = matches!(self.lines.case, Case::RoomAtMost | Case::UnderCriterion) && self.lines.may_be_lower;
        if in_doubt && self.judgement.verdict != Verdict::Exceeds {
            find(
                "lower-bound-room",
                format!(
                    "Only a lower bound of {name}'s compute is known, so base and modification together may be over the criterion for general-purpose models sooner than shown: have that figure reviewed, or declare a firm one."
                ),
            );
        }
        if !self.judgement.raised_by.is_empty() {
            let by = self.judgement.raised_by.join(", ");
            find(
                "readings-disagree",
                format!(
                    "The verdict is raised from below to near, because another reading says more than below ({by}): compare the readings before relying on it."
                ),
            );
        }
        if self.judgement.readings.iter().any(|reading| reading.code == "highest-base-figure") {
            find(
                "sources-disagree",
                format!(
                    "Sources differ on {name}'s compute so far that the highest figure gives another verdict; it is shown and not followed: settle which figure holds."
                ),
            );
        }
        if base.flop.is_some() && self.question.answers.value(AnswerKey::BaseUnknowable) == Some(true) {
            find(
                "fallback-not-open",
                format!(
                    "{name}'s compute is declared to be unknowable, but a figure is known; the fixed line is open only where it can be neither known nor estimated, so the figure is used."
                ),
            );
        }
        match self.lines.case {
            Case::Narrow => find(
                "base-not-gpai",
                format!(
                    "{name} is declared to be no general-purpose model, so the rule on modifications does not speak of it; a third of its compute is shown as an indication: have the result's generality reviewed."
                ),
            ),
            Case::Unknown => find(
                "base-compute-unknown",
                format!(
                    "No figure of {name}'s training compute is known; the fixed line opens only once somebody declares that it can be neither learnt nor estimated."
                ),
            ),
            _ => {}
        }
    }

    fn find_excluded(&self, find: &mut impl FnMut(&str, String)) {
        let places = self.question.rules.phase("aborted").map(|row| self.question.rules.citation(&row.cite));
        let place =
            places.map_or_else(String::new, |citation| format!(" ({}, {})", citation.instrument, citation.place));
        for excluded in &self.question.spent.excluded {
            let flop =
                excluded.training_compute.map_or_else(|| "not counted".to_owned(), |flop| format!("{flop} FLOP"));
            find(
                "run-excluded",
                format!(
                    "Run {} ({flop}) stands in no sum: {} declared on {} that it helped only through what people learned from it{place}, because: {}",
                    excluded.run, excluded.by, excluded.date, excluded.reason
                ),
            );
        }
    }

    fn find_about_spent(&self, find: &mut impl FnMut(&str, String)) {
        let spent = &self.question.spent;
        if spent.training.is_some() && !spent.complete {
            let text = match self.judgement.verdict {
                Verdict::Exceeds => {
                    "Not everything was counted; what was counted is over the line already, so the verdict stands."
                }
                Verdict::Below => {
                    "Not everything was counted; the hardware's ceiling proves that the whole is below the line."
                }
                _ => {
                    "Not everything was counted, so the sum is a lower bound and decides nothing: see which runs are incomplete."
                }
            };
            find("operations-incomplete", text.to_owned());
        }
        let above = spent.training.zip(spent.ceiling.filter(|_| spent.ceiling_complete));
        if let Some((training, ceiling)) = above
            && training > ceiling
        {
            find(
                "operations-above-ceiling",
                format!(
                    "The counted operations ({training}) are above what the hardware could have done ({ceiling}): one of the two is wrong, have both checked."
                ),
            );
        }
    }
}

/// How a legal question is answered on record.
fn answer(question: &str) -> String {
    format!("`flopsmeter modifications answer MODIFICATION {question}=yes|no --by NAME`")
}

/// How long there is to notify, in words.
fn time_to_notify(clock: Option<&NotificationClock>) -> String {
    match clock.map(|clock| (clock.counted_from, clock.notify_by, clock.days, clock.overdue)) {
        Some((Some(first), Some(last), days, true)) => {
            format!("{days} days from {first} ended on {last}, and that day is past")
        }
        Some((Some(first), Some(last), days, false)) => {
            format!("the {days} days to notify, from {first} on, end on {last}")
        }
        Some((_, _, days, _)) => format!(
            "there are {days} days to notify, and nobody says from which day on: {}",
            answer("systemic-risk-condition-date").replace("yes|no", "DATE")
        ),
        None => "the time to notify is short".to_owned(),
    }
}

/// How to supply a fact; `has_figure` tells whether some figure of the base is known, if only a lower bound.
fn next_step(fact: &str, has_figure: bool) -> String {
    const BASE_FILE: &str = "a TOML file with name, flop, source, declared_by and date";
    match fact {
        "base" => format!("name the base model with --base ID (`flopsmeter models search` finds ids), or declare it with --base FILE, {BASE_FILE}"),
        "base-compute" if has_figure => format!("declare the base's training compute, and not a lower bound of it, with --base FILE, {BASE_FILE}"),
        "base-compute" => format!(
            "declare the base's training compute with --base FILE, {BASE_FILE}; if its provider was asked, did not tell, and it cannot be estimated, declare that with {}",
            answer(AnswerKey::BaseUnknowable.name())
        ),
        "operations" => "run the whole job under `flopsmeter run --modification MODIFICATION`, or count it from its configuration with `flopsmeter plan --config`".to_owned(),
        "cumulative-operations" => "run the jobs that make data for the training under `flopsmeter run --modification MODIFICATION` too".to_owned(),
        "base-is-gpai" => format!(
            "declare whether the base is a general-purpose AI model: `gpai = true` or `false` in the file of --base FILE, or {}",
            answer(fact)
        ),
        "base-has-systemic-risk" => format!(
            "declare whether the base has systemic risk: `systemic_risk = true` or `false` in the file of --base FILE, or {}",
            answer(fact)
        ),
        question => format!("have somebody who may say so declare it: {}", answer(question)),
    }
}
