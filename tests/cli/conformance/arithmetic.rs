//! The steps of a worked answer: sums of products of integers and of earlier steps.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// One line of a worked answer.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Step {
    name: String,
    by: String,
    is: i128,
    what: String,
}

/// The steps, done again.
pub(super) struct Worked {
    values: BTreeMap<String, i128>,
    problems: Vec<String>,
}

impl Worked {
    pub(super) fn of(steps: &[Step]) -> Self {
        let mut worked = Self { values: BTreeMap::new(), problems: Vec::new() };
        for step in steps {
            let value = worked.evaluate(&step.by);
            if value != Some(step.is) || step.what.is_empty() {
                worked.problems.push(format!("step {}: `{}` is {value:?}, not {}", step.name, step.by, step.is));
            }
            worked.values.insert(step.name.clone(), step.is);
        }
        worked
    }

    /// Where the steps do not hold, or do not lead to what is expected.
    pub(super) fn problems(&self, expected: &Value) -> Vec<String> {
        let mut problems = self.problems.clone();
        for part in ["forward", "backward", "training"] {
            if !self.values.contains_key(part) {
                problems.push(format!("no step leads to `{part}`"));
            }
        }
        for (part, flop) in expected["flops"].as_object().unwrap() {
            let value = self.values.get(part).map(i128::to_string);
            if value.is_some_and(|value| flop != value.as_str()) {
                problems.push(format!("step {part} is not the expected {flop}"));
            }
        }
        problems
    }

    /// `None` where it is no sum of products of integers and earlier steps.
    fn evaluate(&self, expression: &str) -> Option<i128> {
        let (mut sum, mut product, mut is_factor) = (0, None, true);
        for word in expression.split(' ') {
            match (word, is_factor) {
                ("*", false) => {}
                ("+" | "-", false) => {
                    sum += product?;
                    product = Some(if word == "-" { -1 } else { 1 });
                }
                (factor, true) => {
                    let value = factor.parse().ok().or_else(|| self.values.get(factor).copied())?;
                    product = Some(product.unwrap_or(1) * value);
                }
                (_, false) => return None,
            }
            is_factor = !is_factor;
        }
        Some(sum + product.filter(|_| !is_factor)?)
    }
}

#[test]
fn sums_of_products_are_evaluated() {
    let worked = Worked { values: BTreeMap::from([("a".to_owned(), 5)]), problems: Vec::new() };
    assert_eq!(worked.evaluate("2 * 3 + a * 4 - 1"), Some(25));
    for nonsense in ["", "2 3", "2 *", "* 2", "b", "2 + + 3", "(2)"] {
        assert_eq!(worked.evaluate(nonsense), None, "{nonsense}");
    }
}
