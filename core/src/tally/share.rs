//! Which of the ranks that share the same sequences tells of them.
//!
//! Only what is known to be repeated is left out: the ranks of one tensor-parallel group are fed the same sequences, those of
//! one context-parallel group equal parts of them. The first rank of a group tells of the whole, so that sums stay exact.

use std::borrow::Cow;

use crate::facts::{Parallel, Passes};

/// What this rank's passes are of the job's; `None` if another rank tells of them.
pub(super) fn own<'p>(parallel: Option<&Parallel>, passes: &'p Passes) -> Option<Cow<'p, Passes>> {
    let Some(parallel) = parallel else { return Some(Cow::Borrowed(passes)) };
    if parallel.is_repeated() {
        return None;
    }
    if parallel.context <= 1 {
        return Some(Cow::Borrowed(passes));
    }
    let parts = u64::from(parallel.context);
    let fed = passes.sequences.saturating_mul(passes.length).saturating_mul(passes.count);
    // Of the other ranks' parts only their size is known: without padding here there may be some there.
    let without_mask = passes.real_tokens == Some(fed);
    Some(Cow::Owned(Passes {
        length: passes.length.saturating_mul(parts),
        cached_length: passes.cached_length.saturating_mul(parts),
        real_tokens: passes.real_tokens.filter(|_| without_mask).map(|real| real.saturating_mul(parts)),
        packed: Vec::new(),
        head_positions: None,
        ..passes.clone()
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Phase;

    fn passes() -> Passes {
        Passes { real_tokens: Some(48), ..Passes::text(Phase::Training, true, 2, 8, 3) }
    }

    #[test]
    fn the_first_rank_of_a_tensor_parallel_group_tells_for_all() {
        let rank = |tensor_rank| Parallel { tensor: 4, tensor_rank, ..Parallel::default() };
        assert_eq!(own(Some(&rank(0)), &passes()).as_deref(), Some(&passes()));
        assert!((1..4).all(|number| own(Some(&rank(number)), &passes()).is_none()));
        assert_eq!(own(None, &passes()).as_deref(), Some(&passes()));
    }

    #[test]
    fn the_first_rank_of_a_context_parallel_group_tells_of_whole_sequences() {
        let rank = |context_rank| Parallel { context: 2, context_rank, ..Parallel::default() };
        let part = passes();
        let whole = own(Some(&rank(0)), &part).unwrap();
        assert_eq!((whole.length, whole.sequences, whole.count, whole.real_tokens), (16, 2, 3, Some(96)));
        assert_eq!(own(Some(&rank(1)), &passes()), None);
        let padded = Passes { real_tokens: Some(40), ..passes() };
        assert_eq!(own(Some(&rank(0)), &padded).unwrap().real_tokens, None);
    }
}
