//! Where the law does not say what is held against what: each way to read it, and the worst of those that decide.

use core::cmp::Ordering;

use serde::{Deserialize, Serialize};

use super::base_facts::BaseFacts;
use super::lines::Lines;
use super::reasoning::step;
use super::verdict::Facts;
use super::yardstick::Amounts;
use super::{Assessment, Citation, Finding, House, Line, Question, Spent, Verdict, assess, house};
use crate::registry::Base;
use crate::rules::{CumulationKey, RuleSet};
use crate::unit::Flops;

/// One way to set what was spent against a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reckoning {
    /// Which.
    pub key: CumulationKey,
    /// The model that is taken for the original; `None` where nobody named one.
    pub base: Option<Base<'static>>,
    /// What is held against its line.
    pub spent: Spent,
}

/// The same question in every way to read it.
#[derive(Clone, Copy, Debug)]
pub struct Cumulated<'q> {
    /// What does not depend on the reading; base and spent are those of each reckoning.
    pub question: &'q Question<'q>,
    /// The ways, the cautious default first.
    pub reckonings: &'q [Reckoning],
}

/// One way to read it, with its result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CumulationReading {
    /// Stable short name, for example `chain-loaded`.
    pub code: String,
    /// What it means, in the rule set's words.
    pub says: String,
    /// Whether it is one of those of which the worst verdict is followed.
    pub decides: bool,
    /// Whether this is the one: line, ratio and sums of the assessment are its own.
    pub followed: bool,
    /// The model that is taken for the original.
    pub base: Option<String>,
    /// Its compute, where that is known.
    pub base_flop: Option<Flops>,
    /// What is held against the line; `None` if not (fully) counted.
    pub spent: Option<Flops>,
    /// The line; `None` where none could be chosen.
    pub line: Option<Line>,
    /// Spent over the model's compute, six digits after the point.
    pub ratio: Option<String>,
    /// Share of the line that is spent, in per cent, two digits.
    pub share_of_line_percent: Option<String>,
    /// Its verdict.
    pub verdict: Verdict,
    /// The nearest text; its confidence is our reading.
    pub citation: Citation,
}

impl<'q> Cumulated<'q> {
    fn question_of(&self, reckoning: &'q Reckoning) -> Question<'q> {
        Question { base: reckoning.base.as_ref(), spent: reckoning.spent.clone(), ..self.question.clone() }
    }

    /// Those that decide by `rules`; all of them, should none decide.
    fn deciding(&self, rules: &RuleSet) -> Vec<&'q Reckoning> {
        let deciding: Vec<_> = self.reckonings.iter().filter(|reckoning| rules.decides(reckoning.key)).collect();
        if deciding.is_empty() { self.reckonings.iter().collect() } else { deciding }
    }

    /// The compute line alone, by the worst reading that decides.
    pub fn verdict(&self) -> Verdict {
        self.worst(self.question.rules)
            .map_or_else(|| super::verdict_on_compute(self.question), |(_, judged)| judged.verdict)
    }

    /// The same by the house rule, if there is one.
    pub fn house_verdict(&self) -> Option<Verdict> {
        let rules = &self.question.rules.house()?.rules;
        let worst = self.worst(rules).map(|(_, judged)| judged.verdict);
        worst.or_else(|| super::house_verdict_on_compute(self.question))
    }

    /// The assessment by the worst reading that decides, with all of them beside it.
    pub fn assess(&self) -> Assessment {
        let followed = match self.reckonings {
            [] => return assess(self.question),
            [only] => return assess(&self.question_of(only)),
            [first, ..] => self.worst(self.question.rules).map_or(first, |(worst, _)| worst),
        };
        let mut assessment = assess(&self.question_of(followed));
        let readings: Vec<CumulationReading> =
            self.reckonings.iter().filter_map(|way| self.reading(way, followed)).collect();
        if let Some(house) = self.house() {
            assessment.house = Some(house);
        }
        assessment.findings.extend(disagreement(&readings));
        if let Some(reading) = readings.iter().find(|reading| reading.followed) {
            let values = [
                ("followed", reading.code.clone()),
                ("base", reading.base.clone().unwrap_or_default()),
                ("ways", readings.iter().filter(|way| way.decides).count().to_string()),
            ];
            let at = assessment.steps.iter().position(|step| step.code == "rule-set").map_or(0, |at| at + 1);
            assessment.steps.insert(at, step("cumulation", values, Some(reading.citation.clone())));
        }
        assessment.cumulation = readings;
        assessment
    }

    fn house(&self) -> Option<House> {
        let (worst, _) = self.worst(&self.question.rules.house()?.rules)?;
        house::reading(&self.question_of(worst))
    }

    /// The worst of those that decide by `rules`, judged by its lines; of several the one with the largest share of its line, and of
    /// equals the first.
    fn worst(&self, rules: &RuleSet) -> Option<(&'q Reckoning, Judged)> {
        let judged = self.deciding(rules).into_iter().map(|way| (way, judge(rules, &self.question_of(way))));
        judged.reduce(|worst, next| if next.1.compare(&worst.1) == Ordering::Greater { next } else { worst })
    }

    fn reading(&self, way: &Reckoning, followed: &Reckoning) -> Option<CumulationReading> {
        let rules = self.question.rules;
        let row = rules.cumulation_row(way.key)?;
        let question = Question { base: way.base.as_ref(), spent: way.spent.clone(), ..self.question.clone() };
        let judged = judge(rules, &question);
        Some(CumulationReading {
            code: row.key.name().to_owned(),
            says: row.says.clone(),
            decides: rules.decides(row.key),
            followed: core::ptr::eq(way, followed),
            base: way.base.as_ref().map(|base| base.name().to_owned()),
            base_flop: way.base.as_ref().and_then(Base::flop),
            spent: judged.amount,
            line: judged.line,
            ratio: judged.ratio,
            share_of_line_percent: judged.share_percent,
            verdict: judged.verdict,
            citation: rules.citation(&row.cite),
        })
    }
}

/// One way to read it, held against its line.
struct Judged {
    verdict: Verdict,
    amount: Option<Flops>,
    line: Option<Line>,
    ratio: Option<String>,
    share_percent: Option<String>,
}

impl Judged {
    /// Worse is greater. What cannot be told may be over the line, so it is worse than near.
    fn compare(&self, other: &Self) -> Ordering {
        let rank = |verdict| match verdict {
            Verdict::Below => 0,
            Verdict::Near => 1,
            Verdict::Undetermined => 2,
            Verdict::Exceeds => 3,
        };
        rank(self.verdict).cmp(&rank(other.verdict)).then_with(|| self.share().cmp(&other.share()))
    }

    /// Share of the line, for an order alone.
    fn share(&self) -> Share {
        let line = self.line.as_ref().map_or(Flops::ZERO, |line| line.flop);
        Share { amount: self.amount.unwrap_or_default(), line }
    }
}

/// A quotient that is compared without being divided.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Share {
    amount: Flops,
    line: Flops,
}

impl Ord for Share {
    fn cmp(&self, other: &Self) -> Ordering {
        let product = |left: Flops, right: Flops| {
            let (low, high) = left.0.carrying_mul(right.0, 0);
            (high, low)
        };
        product(self.amount, other.line).cmp(&product(other.amount, self.line))
    }
}

impl PartialOrd for Share {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

fn judge(rules: &RuleSet, question: &Question<'_>) -> Judged {
    let base = question.base.map(|base| BaseFacts::of(base, rules, question.answers));
    let lines = Lines::choose(rules, base.as_ref(), question.answers);
    let judgement = Facts { rules, lines: &lines, base: base.as_ref(), spent: &question.spent }.judge();
    let headline = lines.headline(judgement.verdict);
    let counted: Option<Amounts> =
        judgement.amounts.filter(|_| judgement.complete || judgement.verdict == Verdict::Exceeds);
    let against = headline.zip(counted);
    Judged {
        verdict: judgement.verdict,
        amount: against
            .map_or_else(|| counted.map(|amounts| amounts.training), |(line, amounts)| Some(line.amount(amounts))),
        line: headline.map(|line| line.line.clone()),
        ratio: against.and_then(|(line, amounts)| line.ratio(amounts)),
        share_percent: against.and_then(|(line, amounts)| line.share_percent(amounts)),
    }
}

/// Ways to read that give different verdicts are told, with the one that is followed and why.
fn disagreement(readings: &[CumulationReading]) -> Option<Finding> {
    let followed = readings.iter().find(|reading| reading.followed)?;
    let others: Vec<&CumulationReading> =
        readings.iter().filter(|reading| reading.verdict != followed.verdict).collect();
    if others.is_empty() {
        return None;
    }
    let told = |reading: &CumulationReading| {
        let base = reading.base.as_deref().unwrap_or("no base");
        let counts = if reading.decides { "" } else { ", which decides nothing" };
        format!("{} by `{}` against {base}{counts}", reading.verdict.name(), reading.code)
    };
    let others = others.into_iter().map(told).collect::<Vec<_>>().join("; ");
    let text = format!(
        "The law does not say how modifications are added up or which model of a chain is the original. The verdict is {} by `{}` against {}, the worst of the readings that decide; {others}. Have the choice reviewed.",
        followed.verdict.name(),
        followed.code,
        followed.base.as_deref().unwrap_or("no base")
    );
    Some(Finding { code: "cumulation-readings-differ".to_owned(), text })
}
