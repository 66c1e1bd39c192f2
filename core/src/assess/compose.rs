//! From a question to an assessment.

use super::base_facts::BaseFacts;
use super::contradiction::contradictions_at_risk;
use super::known::{Known, Truth};
use super::lines::Lines;
use super::reasoning::Conclusion;
use super::status::Matter;
use super::verdict::Facts;
use super::watch::{NOTIFICATION, Watched};
use super::yardstick::Amounts;
use super::{AnswerKey, Assessment, InputDigest, Inputs, Question, Verdict, house};
use crate::registry::{Base, FlopBound};
use crate::rules::Fraction;

/// Where the law puts a modification. Pure: the same question gives the same bytes.
///
/// ```
/// use flopsmeter_core::assess::{Answers, Basis, Inputs, Question, Spent, Verdict, assess};
/// use flopsmeter_core::registry::{Base, Registry};
/// use flopsmeter_core::rules::RuleSet;
///
/// let as_of = chrono::NaiveDate::from_ymd_opt(2026, 11, 21).unwrap();
/// let base = Base::resolve(Registry::embedded().unwrap(), "meta-llama/Llama-3.1-8B");
/// let assessment = assess(&Question {
///     spent: Spent::counted("2.409e23".parse().unwrap(), Basis::Operations),
///     base: Some(&base),
///     rules: RuleSet::in_force(as_of).unwrap(),
///     as_of,
///     answers: &Answers::default(),
///     inputs: Inputs::default(),
/// });
/// assert_eq!(assessment.verdict, Verdict::Near, "a third exactly is not over the line");
/// assert_eq!(assessment.share_of_line_percent.as_deref(), Some("100.00"));
/// ```
pub fn assess(question: &Question<'_>) -> Assessment {
    let rules = question.rules;
    let base = question.base.map(|base| BaseFacts::of(base, rules, question.answers));
    let lines = Lines::choose(rules, base.as_ref(), question.answers);
    let facts = Facts { rules, lines: &lines, base: base.as_ref(), spent: &question.spent };
    let judgement = facts.judge();
    let headline = lines.headline(judgement.verdict);
    let watched = Watched { question, base: base.as_ref(), judgement: &judgement, headline };
    let risk = systemic_risk(base.as_ref(), watched.crosses());
    let of_base = base.as_ref().map_or((None, None), |base| (base.is_general(rules), base.has_systemic_risk));
    let matter = Matter {
        known: Known::new(rules, question.answers, of_base, risk),
        verdict: judgement.verdict,
        line: headline.map(|line| line.line.kind),
        base_risk_is_unanswered: base.as_ref().is_none_or(|base| base.has_systemic_risk.is_none()),
    };
    let contradictions = contradictions_at_risk(rules, question.base, question.answers, risk);
    let ruling = matter.rule().unless_contradicted(&contradictions);
    let watch = watched.watch(ruling.status, risk, matter.first_day(NOTIFICATION));
    let conclusion = Conclusion {
        question,
        base: base.as_ref(),
        lines: &lines,
        judgement: &judgement,
        headline,
        ruling: &ruling,
        watch: &watch,
        contradictions: &contradictions,
    };
    let missing = conclusion.missing();
    let for_verdict: Vec<AnswerKey> = missing.iter().filter_map(|missing| AnswerKey::named(&missing.fact)).collect();

    let amounts = judgement.amounts;
    let counted = amounts.filter(|_| judgement.complete || judgement.verdict == Verdict::Exceeds);
    Assessment {
        verdict: judgement.verdict,
        status: ruling.status,
        training_compute: counted.map(|amounts| amounts.training),
        cumulative_compute: counted.and(question.spent.cumulative),
        ratio: counted.and_then(|amounts| match headline {
            Some(line) => line.ratio(amounts),
            None => ratio_to_base(base.as_ref(), amounts),
        }),
        share_of_line_percent: headline.zip(counted).and_then(|(line, amounts)| line.share_percent(amounts)),
        band: headline.zip(counted).map(|(line, amounts)| line.band(amounts)),
        basis: judgement.basis,
        findings: conclusion.findings(),
        reasons: matter.reasons(&ruling),
        questions: matter.open(&ruling, &for_verdict),
        missing,
        obligations: matter.duties(&ruling, question.as_of),
        house: house::reading(question),
        excluded_runs: question.spent.excluded.clone(),
        steps: conclusion.steps(),
        systemic_risk_watch: Some(watch),
        line: headline.map(|line| line.line.clone()),
        cumulation: Vec::new(),
        readings: judgement.readings.clone(),
        rules: rules.id().to_owned(),
        as_of: question.as_of,
        inputs: inputs(question),
    }
}

/// The compute line alone: what [`assess`] gives as `verdict`, without what follows from it. For those who ask often.
pub fn verdict_on_compute(question: &Question<'_>) -> Verdict {
    let rules = question.rules;
    let base = question.base.map(|base| BaseFacts::of(base, rules, question.answers));
    let lines = Lines::choose(rules, base.as_ref(), question.answers);
    Facts { rules, lines: &lines, base: base.as_ref(), spent: &question.spent }.judge().verdict
}

/// The same by the house rule of the rule set, if it has one.
pub fn house_verdict_on_compute(question: &Question<'_>) -> Option<Verdict> {
    house::verdict(question)
}

/// Where no single line holds, the ratio to the base's own compute is still told.
fn ratio_to_base(base: Option<&BaseFacts<'_>>, amounts: Amounts) -> Option<String> {
    Fraction::decimal(amounts.training, 1, base?.flop?.0, 6)
}

/// The result inherits the base's risk; where that is presumed and somebody denies it, it is open. Where nobody says whether the base has any, a figure that is no lower bound says no.
fn systemic_risk(base: Option<&BaseFacts<'_>>, crosses_presumption: bool) -> Truth {
    let Some(base) = base else { return Truth::Open };
    let is_bounded = base.flop.is_some() && base.bound == FlopBound::Point;
    match base.has_systemic_risk {
        Some(true) if base.risk_is_denied => Truth::Open,
        Some(true) => Truth::Yes,
        _ if crosses_presumption => Truth::Open,
        None if !is_bounded => Truth::Open,
        _ => Truth::No,
    }
}

fn inputs(question: &Question<'_>) -> Inputs {
    let digest =
        |name: &str, digest: crate::ledger::Digest| InputDigest { name: name.to_owned(), digest: digest.to_string() };
    let base_model = match question.base {
        Some(Base::Registry(model)) => Some(digest(&model.id, model.digest())),
        Some(Base::Declared(declared)) => Some(digest(&declared.name, declared.digest())),
        Some(Base::Composed(_) | Base::Unresolved { .. }) | None => question.inputs.base_model.clone(),
    };
    let house_rules = question.rules.house().map(|house| digest(&house.name, house.digest));
    let rules = Some(digest(question.rules.id(), question.rules.digest()));
    let answers = question.answers.digest().map(|answers| digest("answers", answers));
    Inputs { rules, house_rules, base_model, answers, ..question.inputs.clone() }
}
