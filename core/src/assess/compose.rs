//! From a question to an assessment.

use super::base_facts::BaseFacts;
use super::lines::Lines;
use super::reasoning::Conclusion;
use super::status::{Matter, Truth};
use super::verdict::{Facts, Judgement};
use super::yardstick::Amounts;
use super::{Assessment, InputDigest, Inputs, Question, Verdict};
use crate::registry::{Base, FlopBound};
use crate::rules::{FigureKey, Fraction, RuleSet};
use crate::unit::Flops;

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
    let crosses_presumption = crosses_presumption(rules, base.as_ref(), &judgement);
    let matter = Matter {
        rules,
        as_of: question.as_of,
        answers: question.answers,
        verdict: judgement.verdict,
        line: headline.map(|line| line.line.kind),
        systemic_risk: systemic_risk(base.as_ref(), crosses_presumption),
        base_risk_is_unanswered: base.as_ref().is_none_or(|base| base.has_systemic_risk.is_none()),
    };
    let ruling = matter.rule();
    let conclusion = Conclusion {
        question,
        base: base.as_ref(),
        lines: &lines,
        judgement: &judgement,
        headline,
        ruling: &ruling,
        crosses_presumption,
    };
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
        missing: conclusion.missing(),
        findings: conclusion.findings(),
        obligations: matter.duties(&ruling),
        steps: conclusion.steps(),
        line: headline.map(|line| line.line.clone()),
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

/// Where no single line holds, the ratio to the base's own compute is still told.
fn ratio_to_base(base: Option<&BaseFacts<'_>>, amounts: Amounts) -> Option<String> {
    Fraction::decimal(amounts.training, 1, base?.flop?.0, 6)
}

/// The watch on the presumption of systemic risk: base and cumulative compute together, strictly over it.
fn crosses_presumption(rules: &RuleSet, base: Option<&BaseFacts<'_>>, judgement: &Judgement) -> bool {
    let presumption = rules.flop_figure(FigureKey::SystemicRiskPresumption);
    let own = base.and_then(|base| base.flop).unwrap_or(Flops::ZERO);
    let spent = judgement.amounts.map_or(Flops::ZERO, |amounts| amounts.cumulative);
    own <= presumption && own + spent > presumption
}

/// The result inherits the base's risk. Where nobody says whether the base has any, a figure that is no lower bound says no.
fn systemic_risk(base: Option<&BaseFacts<'_>>, crosses_presumption: bool) -> Truth {
    let Some(base) = base else { return Truth::Open };
    let is_bounded = base.flop.is_some() && base.bound == FlopBound::Point;
    match base.has_systemic_risk {
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
        Some(Base::Unresolved { .. }) | None => question.inputs.base_model.clone(),
    };
    Inputs { rules: Some(digest(question.rules.id(), question.rules.digest())), base_model, ..question.inputs.clone() }
}
