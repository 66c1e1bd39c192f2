//! Decoders whose last blocks ask the keys and values of earlier ones.

use super::super::ShapeProblem;
use super::super::config::{Config, most};
use super::super::parts::{Kept, Sharing};

/// For each block where its keys and values come from, by `num_kv_shared_layers` and by whether it sees everything.
pub(super) fn read(config: Config<'_>, default: u64, full: &[bool]) -> Result<Vec<Sharing>, ShapeProblem> {
    let shared = config.count("num_kv_shared_layers")?.unwrap_or(default);
    if shared == 0 {
        return Ok(vec![Sharing::Own; full.len()]);
    }
    let problem = |conflict: &str| ShapeProblem::Contradiction {
        key: "num_kv_shared_layers".to_owned(),
        found: shared.to_string(),
        conflict: conflict.to_owned(),
    };
    let first = usize::try_from(shared.min(most::LAYERS)).ok().and_then(|shared| full.len().checked_sub(shared));
    let first = first.ok_or_else(|| problem("there are no more blocks than `num_hidden_layers` says"))?;
    let (own, reusing) = full.split_at(first);
    let last = |kind: bool| own.iter().rposition(|full| *full == kind);
    if reusing.iter().any(|kind| last(*kind).is_none()) {
        return Err(problem("the blocks ahead of these are not of every kind that `layer_types` gives them"));
    }
    let kept = |full: bool| if full { Kept::Full } else { Kept::Sliding };
    let own = own
        .iter()
        .enumerate()
        .map(|(index, full)| if last(*full) == Some(index) { Sharing::Stored(kept(*full)) } else { Sharing::Own });
    Ok(own.chain(reusing.iter().map(|full| Sharing::Reused(kept(*full)))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared(count: u64, full: &[bool]) -> Result<Vec<Sharing>, ShapeProblem> {
        let keys = serde_json::json!({ "num_kv_shared_layers": count });
        read(Config::new(&keys)?, 0, full)
    }

    #[test]
    fn the_last_block_of_each_kind_keeps_what_the_others_reuse() {
        let found = shared(2, &[false, true, false, true, false, true]).ok();
        let (full, sliding) = (Kept::Full, Kept::Sliding);
        let expected = [
            Sharing::Own,
            Sharing::Own,
            Sharing::Stored(sliding),
            Sharing::Stored(full),
            Sharing::Reused(sliding),
            Sharing::Reused(full),
        ];
        assert_eq!(found.as_deref(), Some(&expected[..]));
        assert_eq!(shared(0, &[true; 3]).ok(), Some(vec![Sharing::Own; 3]));
    }

    #[test]
    fn blocks_that_would_reuse_keys_nobody_has_are_refused() {
        for (count, full) in [(1, [true, true, false]), (3, [true; 3]), (4, [true; 3]), (u64::MAX, [true; 3])] {
            let problem = shared(count, &full);
            assert!(matches!(problem, Err(ShapeProblem::Contradiction { .. })), "{count}: {problem:?}");
        }
    }
}
