//! What products are multiplied by: positions, pairs of positions, images, chunks.

/// A line of positions that a batch leads through a part of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Stream {
    /// The sequences as they are fed: a decoder's text, an encoder's text.
    Text,
    /// The sequences that a decoder reads beside an encoder.
    Decoder,
    /// The same in passes that hold images, none in others: layers that only ask images are skipped without any.
    TextBesideImages,
    /// One position for each sequence: a pooled one, the first or the last.
    Pooled,
    /// So many positions for each sequence, whatever its length: patches of a picture, learned queries.
    Fixed(u64),
    /// So many frames of sound for each sequence, whatever its length, which an encoder reads.
    Frames(u64),
    /// `to` positions for every `from` that are fed: what a convolution with a stride leaves of a picture.
    Resampled {
        /// How many positions there are.
        to: u64,
        /// Of how many.
        from: u64,
    },
    /// Distances between the positions that are fed, in both directions, to each side no more than this many.
    Distances(u64),
    /// So many positions for each image.
    Image(u64),
    /// As many positions for each image as its grid has patches, divided by this number (1 before patches are merged).
    Grid(u64),
}

/// Which keys a query sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mask {
    /// All keys up to its own position.
    Causal,
    /// Its own key and those before it, this many together.
    Sliding(u64),
    /// Those of its own chunk of so many positions, up to its own.
    Chunked(u64),
    /// Keys at most this many positions away, before and after.
    Around(u64),
    /// All keys.
    Bidirectional,
    /// All keys of its own line, where all lines of a pass lie in one row: other kernels than those for variable lengths
    /// multiply the whole row.
    OneRow,
    /// Those of its own window of so many patches to each side, in its own frame of an image's grid.
    Window(u64),
}

/// What a number of operations is multiplied by to give those of a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Quantity {
    /// One for each pass, whatever is fed.
    Pass,
    /// Positions.
    Positions(Stream),
    /// Positions, and so many more for each line of them: a convolution that is padded on both sides.
    PositionsAnd {
        /// Whose positions.
        stream: Stream,
        /// How many more.
        more: u64,
    },
    /// Positions of one line, once for each pass: what all sequences share, as a table of positions.
    Shared(Stream),
    /// Pairs of positions of one line, once for each pass.
    SharedPairs(Stream),
    /// Pairs of a query and a key.
    Pairs {
        /// Positions that ask.
        query: Stream,
        /// Positions that are asked.
        key: Stream,
        /// Which of the pairs are visible.
        mask: Mask,
    },
    /// Every sequence with every image.
    SequencesByImages,
    /// Pairs of positions within windows of so many positions of an image's grid of patches.
    WindowPairs {
        /// Side of a window in patches.
        side: u64,
    },
    /// Chunks of so many positions, the last one filled up, as state-space layers cut each sequence.
    Chunks(u64),
    /// The same without the first chunk of each sequence (which is as many as without the last one).
    LaterChunks(u64),
    /// Positions after the first so many of each sequence.
    PositionsAfter(u64),
    /// Pairs of positions within chunks of so many, the last chunk no longer than it is.
    ChunkPairs(u64),
    /// `(chunks + 1)²` of each sequence: how state-space layers lead states from chunk to chunk.
    ChunkCarries(u64),
}

impl Quantity {
    /// Whether it depends on the sizes of images.
    pub const fn follows_grid(self) -> bool {
        matches!(
            self,
            Self::Positions(Stream::Grid(_)) | Self::Pairs { query: Stream::Grid(_), .. } | Self::WindowPairs { .. }
        )
    }
}
