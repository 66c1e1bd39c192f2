//! What one pass is fed, and how much that is of each quantity.

use super::cost::Attention;
use crate::shape::{Mask, Quantity, Stream};

/// What one forward pass is fed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Sequences.
    pub sequences: u64,
    /// Positions of each sequence, padding included; of an encoder-decoder those of the encoder.
    pub length: u64,
    /// Positions of a key-value cache that each sequence attends to besides its own.
    pub cached_length: u64,
    /// Positions of each sequence that the decoder of an encoder-decoder reads.
    pub decoder_length: u64,
    /// Images over all sequences.
    pub images: u64,
    /// Time, height and width of each image in patches, before patches are merged.
    pub image_grid: Option<[u64; 3]>,
}

impl Batch {
    /// Sequences of text, nothing else.
    pub const fn text(sequences: u64, length: u64) -> Self {
        Self { sequences, length, cached_length: 0, decoder_length: 0, images: 0, image_grid: None }
    }

    /// The same sequences after a key-value cache of so many positions.
    #[must_use]
    pub const fn after(self, cached_length: u64) -> Self {
        Self { cached_length, ..self }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.sequences == 0 || (self.length == 0 && self.decoder_length == 0)
    }

    /// Lines of positions in a stream, and how long each is.
    fn lines(&self, stream: Stream) -> (u128, u128) {
        let wide = |value: u64| u128::from(value);
        match stream {
            Stream::Text => (wide(self.sequences), wide(self.length)),
            Stream::TextBesideImages => (wide(if self.images > 0 { self.sequences } else { 0 }), wide(self.length)),
            Stream::Decoder => (wide(self.sequences), wide(self.decoder_length)),
            Stream::Pooled => (wide(self.sequences), 1),
            Stream::Fixed(length) | Stream::Frames(length) => (wide(self.sequences), wide(length)),
            Stream::Resampled { to, from } => {
                (wide(self.sequences), wide(self.length).saturating_mul(wide(to)) / wide(from).max(1))
            }
            Stream::Distances(most) => (wide(self.sequences), wide(self.length.min(most)).saturating_mul(2)),
            Stream::Image(length) => (wide(self.images), wide(length)),
            Stream::Grid(merged) => {
                let [time, height, width] = self.image_grid.unwrap_or_default().map(wide);
                let patches = time.saturating_mul(height).saturating_mul(width);
                (wide(self.images), patches / wide(merged).max(1))
            }
        }
    }

    /// Cached positions belong to the stream that grows as text is generated.
    fn cached(&self, query: Stream, key: Stream) -> u128 {
        let grows = if self.decoder_length > 0 { Stream::Decoder } else { Stream::Text };
        if query == grows && key == grows { u128::from(self.cached_length) } else { 0 }
    }

    /// How much of a quantity this batch is.
    pub(super) fn amount(&self, quantity: Quantity, attention: Attention) -> u128 {
        match quantity {
            Quantity::Pass => 1,
            Quantity::Positions(stream) => {
                let (lines, length) = self.lines(stream);
                lines.saturating_mul(length)
            }
            Quantity::PositionsAnd { stream, more } => {
                let (lines, length) = self.lines(stream);
                lines.saturating_mul(length.saturating_add(u128::from(more)))
            }
            Quantity::Shared(stream) => self.lines(stream).1,
            Quantity::SharedPairs(stream) => {
                let (_, length) = self.lines(stream);
                length.saturating_mul(length)
            }
            Quantity::Pairs { query, key, mask } => self.pairs((query, key), mask, attention),
            Quantity::SequencesByImages => u128::from(self.sequences).saturating_mul(u128::from(self.images)),
            Quantity::WindowPairs { side } => {
                let [time, height, width] = self.image_grid.unwrap_or_default();
                let pairs = squares_of_parts(height, side).saturating_mul(squares_of_parts(width, side));
                pairs.saturating_mul(u128::from(time)).saturating_mul(u128::from(self.images))
            }
            Quantity::Chunks(size) => u128::from(self.sequences).saturating_mul(self.chunks(size)),
            Quantity::LaterChunks(size) => {
                u128::from(self.sequences).saturating_mul(self.chunks(size).saturating_sub(1))
            }
            Quantity::PositionsAfter(first) => {
                u128::from(self.sequences).saturating_mul(u128::from(self.length.saturating_sub(first)))
            }
            Quantity::ChunkPairs(size) => {
                u128::from(self.sequences).saturating_mul(squares_of_parts(self.length, size))
            }
            Quantity::ChunkCarries(size) => {
                let chunks = self.chunks(size).saturating_add(1);
                u128::from(self.sequences).saturating_mul(chunks.saturating_mul(chunks))
            }
        }
    }

    fn pairs(&self, (query, key): (Stream, Stream), mask: Mask, attention: Attention) -> u128 {
        let (lines, length) = self.lines(query);
        if query != key {
            // Each line asks its own: where several images belong to one sequence, it asks all of them.
            let (own_lines, own_keys) = self.lines(key);
            return lines.max(own_lines).saturating_mul(length).saturating_mul(own_keys);
        }
        let cached = self.cached(query, key);
        match attention {
            Attention::Full if mask == Mask::OneRow => {
                let row = lines.saturating_mul(length);
                row.saturating_mul(row)
            }
            Attention::Full => lines.saturating_mul(length.saturating_mul(length.saturating_add(cached))),
            Attention::Visible => lines.saturating_mul(visible_pairs(mask, length, cached)),
        }
    }

    fn chunks(&self, size: u64) -> u128 {
        u128::from(self.length.div_ceil(size.max(1)))
    }
}

/// Squares of the parts into which a length is cut, the last one shorter, added up.
fn squares_of_parts(length: u64, part: u64) -> u128 {
    let part = part.max(1);
    let square = |length: u64| u128::from(length).saturating_mul(u128::from(length));
    u128::from(length / part).saturating_mul(square(part)).saturating_add(square(length % part))
}

/// Pairs of one line of `length` positions that follow `cached` ones.
fn visible_pairs(mask: Mask, length: u128, cached: u128) -> u128 {
    match mask {
        Mask::Bidirectional | Mask::OneRow | Mask::Window(_) => length.saturating_mul(length.saturating_add(cached)),
        Mask::Causal => triangle(length, cached),
        Mask::Sliding(window) => {
            // The first positions see all there is so far; from the moment that fills the window, each sees the window.
            let window = u128::from(window);
            let growing = window.saturating_sub(cached).min(length);
            triangle(growing, cached).saturating_add((length - growing).saturating_mul(window))
        }
        Mask::Chunked(size) => {
            let size = u128::from(size).max(1);
            let upto =
                |end: u128| (end / size).saturating_mul(triangle(size, 0)).saturating_add(triangle(end % size, 0));
            upto(length.saturating_add(cached)).saturating_sub(upto(cached))
        }
        Mask::Around(reach) => {
            let all = length.saturating_add(cached);
            let beyond = all.saturating_sub(u128::from(reach).saturating_add(1));
            // Pairs further apart than the window reaches, to each side, are hidden; a cache makes it an upper bound.
            let hidden = if cached == 0 { triangle(beyond, 0).saturating_mul(2) } else { 0 };
            length.saturating_mul(all).saturating_sub(hidden)
        }
    }
}

/// `(cached + 1) + (cached + 2) + … + (cached + length)`.
const fn triangle(length: u128, cached: u128) -> u128 {
    // Halved before it is multiplied: `length · (length + 1)` alone could leave 128 bits.
    let (even, odd) = if length.is_multiple_of(2) { (length, length + 1) } else { (length + 1, length) };
    let own = (even / 2).saturating_mul(odd);
    own.saturating_add(length.saturating_mul(cached))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pairs counted one by one.
    fn counted(mask: Mask, length: u64, cached: u64) -> u128 {
        let seen = |position: u64| match mask {
            Mask::Causal => position + 1,
            Mask::Sliding(window) => (position + 1).min(window),
            Mask::Chunked(size) => position % size + 1,
            Mask::Around(reach) => (0..length).filter(|key| key.abs_diff(position) <= reach).count() as u64,
            Mask::Bidirectional | Mask::OneRow | Mask::Window(_) => cached + length,
        };
        (cached..cached + length).map(|position| u128::from(seen(position))).sum()
    }

    #[test]
    fn visible_pairs_are_those_that_one_counts() {
        for (length, cached) in (0..12).flat_map(|length| (0..12).map(move |cached| (length, cached))) {
            let sliding = (1..16).map(Mask::Sliding).chain((1..16).map(Mask::Chunked));
            let around = (0..14).map(Mask::Around).filter(|_| cached == 0);
            for mask in sliding.chain(around).chain([Mask::Causal, Mask::Bidirectional]) {
                let pairs = visible_pairs(mask, length.into(), cached.into());
                assert_eq!(pairs, counted(mask, length, cached), "{mask:?}, {length} positions after {cached}");
            }
        }
    }

    #[test]
    fn chunks_are_those_that_one_counts() {
        for (length, size) in (1..20_u64).flat_map(|length| (1..8_u64).map(move |size| (length, size))) {
            let batch = Batch::text(3, length);
            let chunk = |position: u64| position / size;
            let all: Vec<u64> = (0..length).collect();
            let last = chunk(length - 1);
            let pairs = all.iter().flat_map(|one| all.iter().filter(move |two| chunk(**two) == chunk(*one))).count();
            let counted = [
                (Quantity::Chunks(size), u128::from(last + 1)),
                (Quantity::LaterChunks(size), u128::from(last)),
                (Quantity::PositionsAfter(size), all.iter().filter(|position| **position >= size).count() as u128),
                (Quantity::ChunkPairs(size), pairs as u128),
                (Quantity::ChunkCarries(size), u128::from((last + 2) * (last + 2))),
            ];
            for (quantity, each) in counted {
                assert_eq!(batch.amount(quantity, Attention::Full), 3 * each, "{quantity:?} of {length}");
            }
        }
    }

    #[test]
    fn windows_at_the_border_are_smaller() {
        let batch = Batch { images: 2, image_grid: Some([3, 5, 4]), ..Batch::default() };
        let by_hand = 4 * (2 * 2) * (2 * 2) + 2 * 2 * 2;
        assert_eq!(batch.amount(Quantity::WindowPairs { side: 2 }, Attention::Full), by_hand * 3 * 2);
    }

    #[test]
    fn images_beside_text_are_asked_by_each_sequence() {
        let pairs = |query, key| Quantity::Pairs { query, key, mask: Mask::Bidirectional };
        let by_hand = [
            // Two sequences of five positions, six images of seven: each image belongs to one sequence.
            (Quantity::Positions(Stream::TextBesideImages), 2 * 5),
            (Quantity::Positions(Stream::Image(7)), 6 * 7),
            (pairs(Stream::Text, Stream::Image(7)), 6 * 5 * 7),
            (Quantity::SequencesByImages, 2 * 6),
        ];
        let batch = Batch { images: 6, ..Batch::text(2, 5) };
        for (quantity, each) in by_hand {
            assert_eq!(batch.amount(quantity, Attention::Full), each, "{quantity:?}");
        }
        let without = Batch::text(2, 5).amount(Quantity::Positions(Stream::TextBesideImages), Attention::Full);
        assert_eq!(without, 0);
    }

    #[test]
    fn distances_reach_as_far_as_the_text_is_long() {
        let table = |length| Batch::text(3, length).amount(Quantity::Shared(Stream::Distances(8)), Attention::Full);
        assert_eq!([table(5), table(8), table(500)], [10, 16, 16]);
    }

    #[test]
    fn one_row_is_multiplied_as_a_whole_unless_the_kernel_knows_where_lines_begin() {
        let grid = Stream::Grid(1);
        let pairs = Quantity::Pairs { query: grid, key: grid, mask: Mask::OneRow };
        let batch = Batch { images: 3, image_grid: Some([1, 2, 5]), ..Batch::text(1, 40) };
        assert_eq!(batch.amount(pairs, Attention::Full), 30 * 30);
        assert_eq!(batch.amount(pairs, Attention::Visible), 3 * 10 * 10);
    }
}
