//! What the headers of a model's weight files tell: how many parameters there are.
//!
//! Format of a safetensors file: <https://github.com/huggingface/safetensors#format>.

use std::collections::{BTreeSet, HashMap};

use serde::Deserialize;
use serde_json::Value;

/// What one file stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredWeights {
    /// How many parameters; `None` where some are packed several to a number, as quantised ones are.
    pub parameters: Option<u128>,
}

/// A header that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("its header is no list of tensors: {cause}")]
pub struct WeightsProblem {
    cause: String,
}

#[derive(Deserialize)]
struct Tensor {
    dtype: String,
    shape: Vec<u64>,
}

/// Tensors beside the parameters are small: a bound on how far two counts of one network differ, as a part of it.
const TENTH: u128 = 10;

/// A listed count of a model is this close to that of its files, as a part of it.
const EXACT: u128 = 1000;

impl StoredWeights {
    /// The format's own limit, in bytes.
    pub const LONGEST_HEADER: u64 = 100_000_000;

    /// Reads a file's header, the JSON alone.
    ///
    /// ```
    /// use flopsmeter_core::registry::StoredWeights;
    /// let header = br#"{"w": {"dtype": "BF16", "shape": [4096, 11008], "data_offsets": [0, 90177536]}}"#;
    /// assert_eq!(StoredWeights::of_header(header).unwrap().parameters, Some(45_088_768));
    /// ```
    pub fn of_header(header: &[u8]) -> Result<Self, WeightsProblem> {
        let problem = |cause: serde_json::Error| WeightsProblem { cause: cause.to_string() };
        let entries: HashMap<String, Value> = serde_json::from_slice(header).map_err(problem)?;
        let mut sum = 0_u128;
        let mut is_packed = false;
        // Masks are no parameters; other whole numbers in a table are packed ones.
        for (_, entry) in entries.into_iter().filter(|(name, _)| name != "__metadata__") {
            let tensor: Tensor = serde_json::from_value(entry).map_err(problem)?;
            if tensor.dtype == "BOOL" {
                continue;
            }
            let size = tensor.shape.iter().fold(1_u128, |size, side| size.saturating_mul(u128::from(*side)));
            is_packed |= !tensor.dtype.contains('F') && tensor.shape.len() > 1;
            sum = sum.saturating_add(size);
        }
        Ok(Self { parameters: (!is_packed).then_some(sum) })
    }

    /// The files that an index names (`model.safetensors.index.json`), each once; names that leave the folder are left out.
    pub fn files_of_index(index: &Value) -> BTreeSet<String> {
        let files = index.get("weight_map").and_then(Value::as_object).into_iter().flat_map(serde_json::Map::values);
        let names = files.filter_map(Value::as_str).filter(|name| !name.contains(['/', '\\']) && *name != "..");
        names.map(str::to_owned).collect()
    }

    /// Whether so many stored parameters can be a model that is listed with so many: a new head or a longer vocabulary changes
    /// some, another model most.
    pub const fn may_be_of(stored: u128, listed: u128) -> bool {
        stored.abs_diff(listed).saturating_mul(TENTH) <= listed
    }

    /// Whether both are the same count, as closely as rows give it.
    pub(super) const fn is_count(stored: u128, listed: u128) -> bool {
        stored.abs_diff(listed).saturating_mul(EXACT) <= listed
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parameters(header: &Value) -> Option<u128> {
        StoredWeights::of_header(header.to_string().as_bytes()).unwrap().parameters
    }

    #[test]
    fn tensors_are_added_and_metadata_is_not() {
        let header = json!({
            "__metadata__": {"format": "pt"},
            "a": {"dtype": "F16", "shape": [3, 5], "data_offsets": [0, 30]},
            "b": {"dtype": "F8_E4M3", "shape": [7], "data_offsets": [30, 37]},
            "mask": {"dtype": "BOOL", "shape": [2, 2], "data_offsets": [45, 49]},
            "steps": {"dtype": "I64", "shape": [], "data_offsets": [37, 45]},
        });
        assert_eq!(parameters(&header), Some(23));
        assert_eq!(parameters(&json!({})), Some(0));
    }

    #[test]
    fn packed_weights_have_no_count() {
        for dtype in ["U8", "I32", "I8"] {
            assert_eq!(parameters(&json!({"q": {"dtype": dtype, "shape": [8, 8], "data_offsets": [0, 64]}})), None);
        }
    }

    #[test]
    fn what_is_no_header_is_refused() {
        for header in [&b""[..], b"[]", b"{\"a\": 1}", b"{\"a\": {\"dtype\": \"F32\", \"shape\": [-1]}}", &[0xff; 40]] {
            assert!(StoredWeights::of_header(header).is_err(), "{header:?}");
        }
        let huge = json!({"a": {"dtype": "F32", "shape": [u64::MAX, u64::MAX, u64::MAX]}});
        assert_eq!(parameters(&huge), Some(u128::MAX));
    }

    #[test]
    fn an_index_names_each_file_once_and_none_elsewhere() {
        let index = json!({"weight_map": {"a": "one.safetensors", "b": "one.safetensors", "c": "../two", "d": 3}});
        assert_eq!(StoredWeights::files_of_index(&index).into_iter().collect::<Vec<_>>(), ["one.safetensors"]);
        assert!(StoredWeights::files_of_index(&json!([])).is_empty());
    }
}
