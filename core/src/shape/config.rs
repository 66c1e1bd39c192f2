//! Reads single keys of a configuration, each with its type and its bounds.

use serde_json::{Map, Value};

use super::ShapeProblem;

/// Bounds of the sizes. Each is more than ten times the largest published model's, and together they keep every
/// parameter count within 64 bits and every cost within 128.
pub(super) mod most {
    pub(in crate::shape) const VOCABULARY: u64 = 1 << 26;
    pub(in crate::shape) const WIDTH: u64 = 1 << 22;
    pub(in crate::shape) const HEADS: u64 = 1 << 14;
    pub(in crate::shape) const HEAD_SIZE: u64 = 1 << 14;
    pub(in crate::shape) const LAYERS: u64 = 1 << 12;
    pub(in crate::shape) const EXPERTS: u64 = 1 << 16;
    pub(in crate::shape) const WINDOW: u64 = 1 << 40;
}

/// The keys of one configuration.
#[derive(Clone, Copy)]
pub(super) struct Config<'a> {
    keys: &'a Map<String, Value>,
}

impl<'a> Config<'a> {
    /// The keys of an object.
    pub(super) const fn of(keys: &'a Map<String, Value>) -> Self {
        Self { keys }
    }

    pub(super) fn new(config: &'a Value) -> Result<Self, ShapeProblem> {
        config.as_object().map(|keys| Self { keys }).ok_or(ShapeProblem::NotAnObject)
    }

    /// The value under a key; `null` counts as absent, as `transformers` treats it.
    fn value(self, key: &str) -> Option<&'a Value> {
        self.keys.get(key).filter(|value| !value.is_null())
    }

    /// Whether a key stands there, even as `null`.
    pub(super) fn has(self, key: &str) -> bool {
        self.keys.contains_key(key)
    }

    /// Whether a text stands there.
    pub(super) fn is_text(self, key: &str) -> bool {
        self.value(key).is_some_and(Value::is_string)
    }

    /// A whole number from 1 to `most`, or `None` if absent.
    pub(super) fn size(self, key: &str, most: u64) -> Result<Option<u64>, ShapeProblem> {
        let Some(value) = self.value(key) else { return Ok(None) };
        let Value::Number(number) = value else { return Err(wrong_type(key, value, "a whole number")) };
        match number.as_u64() {
            Some(size) if (1..=most).contains(&size) => Ok(Some(size)),
            None if number.as_i64().is_none() && !is_integer(&number.to_string()) => {
                Err(wrong_type(key, value, "a whole number"))
            }
            _ => Err(ShapeProblem::OutOfRange { key: key.to_owned(), found: shortened(value), most }),
        }
    }

    /// Whether anything but `null` stands there.
    pub(super) fn is_there(self, key: &str) -> bool {
        self.value(key).is_some()
    }

    /// A size times the number under a key, cut to a whole one as Python's `int` does, or `None` if absent.
    pub(super) fn times(self, key: &str, size: u64, most: u64) -> Result<Option<u64>, ShapeProblem> {
        let Some(value) = self.value(key) else { return Ok(None) };
        let factor = value.as_f64().ok_or_else(|| wrong_type(key, value, "a number"))?;
        // Widths are far below 2^32, and a product of more digits than a u64 has is out of range anyway.
        let product = factor * f64::from(u32::try_from(size).unwrap_or(u32::MAX));
        let whole = format!("{:.0}", product.trunc()).parse::<u64>().ok();
        let within = whole.filter(|whole| (1..=most).contains(whole));
        within.map(Some).ok_or_else(|| ShapeProblem::OutOfRange { key: key.to_owned(), found: shortened(value), most })
    }

    /// A whole number from 1 to `most`.
    pub(super) fn required_size(self, key: &str, most: u64) -> Result<u64, ShapeProblem> {
        self.size(key, most)?.ok_or_else(|| ShapeProblem::Missing { key: key.to_owned() })
    }

    /// The same under the first of several names; two that are there must agree.
    pub(super) fn size_of(self, keys: &[&str], most: u64) -> Result<Option<u64>, ShapeProblem> {
        let mut found: Option<(&str, u64)> = None;
        for key in keys {
            let Some(size) = self.size(key, most)? else { continue };
            match found {
                Some((first, known)) if known != size => {
                    return Err(ShapeProblem::Contradiction {
                        key: (*key).to_owned(),
                        found: size.to_string(),
                        conflict: format!("{first}, another name of the same, is {known}"),
                    });
                }
                _ => found = Some((key, size)),
            }
        }
        Ok(found.map(|(_, size)| size))
    }

    /// The same, which must be there.
    pub(super) fn required_size_of(self, keys: &[&str], most: u64) -> Result<u64, ShapeProblem> {
        let key = || keys.first().copied().unwrap_or_default().to_owned();
        self.size_of(keys, most)?.ok_or_else(|| ShapeProblem::Missing { key: key() })
    }

    /// A whole number from 0 on, or `None` if absent.
    pub(super) fn count(self, key: &str) -> Result<Option<u64>, ShapeProblem> {
        let Some(value) = self.value(key) else { return Ok(None) };
        value.as_u64().map(Some).ok_or_else(|| wrong_type(key, value, "a whole number, 0 or more"))
    }

    /// A whole number from 0 on, or `None` if absent or -1, which some families write for "no end".
    pub(super) fn count_or_minus_one(self, key: &str) -> Result<Option<u64>, ShapeProblem> {
        if self.value(key).and_then(Value::as_i64) == Some(-1) {
            return Ok(None);
        }
        self.count(key)
    }

    /// `true` or `false`, or `None` if absent.
    pub(super) fn flag(self, key: &str) -> Result<Option<bool>, ShapeProblem> {
        let Some(value) = self.value(key) else { return Ok(None) };
        value.as_bool().map(Some).ok_or_else(|| wrong_type(key, value, "true or false"))
    }

    /// How many entries an object has, or `None` if absent; at least one.
    pub(super) fn entries(self, key: &str) -> Result<Option<u64>, ShapeProblem> {
        let Some(value) = self.value(key) else { return Ok(None) };
        let entries = value.as_object().filter(|entries| !entries.is_empty());
        let count = entries.and_then(|entries| u64::try_from(entries.len()).ok());
        count.map(Some).ok_or_else(|| wrong_type(key, value, "an object with at least one entry"))
    }

    /// The same keys, and of these those that are absent.
    pub(super) fn or_defaults(self, defaults: &[(&str, u64)]) -> Map<String, Value> {
        let mut keys = self.keys.clone();
        for (key, default) in defaults.iter().filter(|(key, _)| !self.has(key)) {
            keys.insert((*key).to_owned(), Value::from(*default));
        }
        keys
    }

    /// What stands in an object or a list that is not empty.
    pub(super) fn filled(self, key: &str) -> Option<String> {
        let value = self.value(key)?;
        let empty = value.as_object().is_some_and(Map::is_empty) || value.as_array().is_some_and(Vec::is_empty);
        (!empty).then(|| shortened(value))
    }

    /// The texts in an object under those of its keys that begin so; nothing where there is no object.
    pub(super) fn texts_within(self, key: &str, beginning: &str) -> Vec<&'a str> {
        let entries = self.value(key).and_then(Value::as_object).into_iter().flatten();
        let chosen = entries.filter(|(key, _)| key.starts_with(beginning));
        chosen.filter_map(|(_, value)| value.as_str()).collect()
    }

    /// An object as a configuration of its own, or `None` if absent.
    pub(super) fn inner(self, key: &str) -> Result<Option<Self>, ShapeProblem> {
        let Some(value) = self.value(key) else { return Ok(None) };
        value.as_object().map(|keys| Some(Self { keys })).ok_or_else(|| wrong_type(key, value, "an object"))
    }

    /// Whether a probability is above zero; `false` if absent.
    pub(super) fn is_positive(self, key: &str) -> Result<bool, ShapeProblem> {
        self.is_positive_or(key, false)
    }

    /// The same, with what holds where it is absent.
    pub(super) fn is_positive_or(self, key: &str, default: bool) -> Result<bool, ShapeProblem> {
        let Some(value) = self.value(key) else { return Ok(default) };
        let probability = value.as_f64().filter(|probability| (0.0..=1.0).contains(probability));
        probability.map(|probability| probability > 0.0).ok_or_else(|| wrong_type(key, value, "a number from 0 to 1"))
    }

    /// Whole numbers from 1 to `most` in a list, or one of them alone, or `None` if absent.
    pub(super) fn sizes(self, key: &str, most: u64) -> Result<Option<Vec<u64>>, ShapeProblem> {
        let Some(Value::Array(items)) = self.value(key) else {
            return Ok(self.size(key, most)?.map(|size| vec![size]));
        };
        let sizes = items.iter().map(|item| item.as_u64().filter(|size| (1..=most).contains(size)));
        let sizes: Option<Vec<u64>> = sizes.collect();
        let expected = "a whole number above 0, or a list of them, none too large";
        sizes.map(Some).ok_or_else(|| wrong_type(key, &Value::Array(items.clone()), expected))
    }

    /// Whole numbers of either sign in a list, or one of them alone, or `None` if absent.
    pub(super) fn integers(self, key: &str) -> Result<Option<Vec<i64>>, ShapeProblem> {
        let Some(value) = self.value(key) else { return Ok(None) };
        let integers = match value {
            Value::Array(items) => items.iter().map(Value::as_i64).collect(),
            one => one.as_i64().map(|one| vec![one]),
        };
        integers.map(Some).ok_or_else(|| wrong_type(key, value, "a whole number, or a list of them"))
    }

    /// The two sides of something square, if one number is given, or not, if two are.
    pub(super) fn height_and_width(self, key: &str, most: u64) -> Result<Option<[u64; 2]>, ShapeProblem> {
        let Some(sizes) = self.sizes(key, most)? else { return Ok(None) };
        match *sizes.as_slice() {
            [side] => Ok(Some([side; 2])),
            [height, width] => Ok(Some([height, width])),
            _ => Err(ShapeProblem::WrongType {
                key: key.to_owned(),
                found: format!("a list of {}", sizes.len()),
                expected: "a whole number, or a list of two",
            }),
        }
    }

    /// Whether a number is above zero, with what holds where it is absent.
    pub(super) fn is_above_zero_or(self, key: &str, default: bool) -> Result<bool, ShapeProblem> {
        let Some(value) = self.value(key) else { return Ok(default) };
        value.as_f64().map(|number| number > 0.0).ok_or_else(|| wrong_type(key, value, "a number"))
    }

    /// A number as it is written, or `None` if absent.
    pub(super) fn number(self, key: &str) -> Result<Option<String>, ShapeProblem> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::Number(number)) => Ok(Some(number.to_string())),
            Some(other) => Err(wrong_type(key, other, "a number")),
        }
    }

    /// How long a list is, or `None` if absent.
    pub(super) fn items(self, key: &str) -> Result<Option<u64>, ShapeProblem> {
        let Some(value) = self.value(key) else { return Ok(None) };
        let length = value.as_array().and_then(|items| u64::try_from(items.len()).ok());
        length.map(Some).ok_or_else(|| wrong_type(key, value, "a list"))
    }

    /// A text, or `None` if absent.
    pub(super) fn text(self, key: &str) -> Result<Option<&'a str>, ShapeProblem> {
        let Some(value) = self.value(key) else { return Ok(None) };
        value.as_str().map(Some).ok_or_else(|| wrong_type(key, value, "a text"))
    }

    /// A list of whole numbers from 0 on, or `None` if absent.
    pub(super) fn counts(self, key: &str) -> Result<Option<Vec<u64>>, ShapeProblem> {
        let Some(value) = self.value(key) else { return Ok(None) };
        let counts = value.as_array().and_then(|items| items.iter().map(Value::as_u64).collect());
        counts.map(Some).ok_or_else(|| wrong_type(key, value, "a list of whole numbers, 0 or more"))
    }

    /// A list of texts, or `None` if absent.
    pub(super) fn texts(self, key: &str) -> Result<Option<Vec<&'a str>>, ShapeProblem> {
        let Some(value) = self.value(key) else { return Ok(None) };
        let texts = value.as_array().and_then(|items| items.iter().map(Value::as_str).collect());
        texts.map(Some).ok_or_else(|| wrong_type(key, value, "a list of texts"))
    }

    /// A list of lists of texts, each with how often it counts (`[[["a", "b"], 12]]`), or `None` if absent.
    pub(super) fn repeated_texts(self, key: &str) -> Result<Option<Vec<Repeated<'a>>>, ShapeProblem> {
        let Some(value) = self.value(key) else { return Ok(None) };
        let group = |item: &'a Value| {
            let [texts, times] = item.as_array()?.as_slice() else { return None };
            let texts = texts.as_array()?.iter().map(Value::as_str).collect::<Option<Vec<&str>>>()?;
            Some((texts, times.as_u64()?))
        };
        let groups = value.as_array().and_then(|items| items.iter().map(group).collect());
        groups.map(Some).ok_or_else(|| wrong_type(key, value, "a list of lists of texts with a number each"))
    }
}

/// Some texts, and how often they stand one after the other.
pub(super) type Repeated<'a> = (Vec<&'a str>, u64);

fn is_integer(digits: &str) -> bool {
    digits.strip_prefix('-').unwrap_or(digits).bytes().all(|byte| byte.is_ascii_digit())
}

fn wrong_type(key: &str, value: &Value, expected: &'static str) -> ShapeProblem {
    ShapeProblem::WrongType { key: key.to_owned(), found: shortened(value), expected }
}

/// A value as JSON, cut so that a hostile file cannot fill the terminal.
pub(super) fn shortened(value: &Value) -> String {
    shortened_text(&value.to_string())
}

/// A text, cut so that a hostile file cannot fill the terminal, without control characters.
pub(super) fn shortened_text(text: &str) -> String {
    const LONGEST: usize = 60;
    let mut shown: String = text.chars().take(LONGEST).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    shown
}
