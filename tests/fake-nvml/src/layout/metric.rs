//! GPM's metrics, by the numbers and names of `nvml.h`.

use crate::scenario::Pipe;

/// A metric.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its name in `nvml.h`, after `NVML_GPM_METRIC_`.
    pub name: &'static str,
    /// Its number.
    pub id: u32,
    /// What it is of.
    pub pipe: Pipe,
    /// What it tells.
    pub told: Told,
}

/// What a metric tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// The share of cycles between two snapshots, in per cent.
    Share,
    /// Cycles since the start of the machine (drivers from 595 on).
    CyclesSinceBoot,
}

const fn share(name: &'static str, id: u32, pipe: Pipe) -> Metric {
    Metric { name, id, pipe, told: Told::Share }
}

const fn cycles(name: &'static str, id: u32, pipe: Pipe) -> Metric {
    Metric { name, id, pipe, told: Told::CyclesSinceBoot }
}

/// The metrics that the stand-in has.
pub const METRICS: [Metric; 21] = [
    share("SM_UTIL", 2, Pipe::Sm),
    share("INTEGER_UTIL", 4, Pipe::Integer),
    share("ANY_TENSOR_UTIL", 5, Pipe::Tensor),
    share("DFMA_TENSOR_UTIL", 6, Pipe::Dfma),
    share("HMMA_TENSOR_UTIL", 7, Pipe::Hmma),
    share("DMMA_TENSOR_UTIL", 8, Pipe::Dmma),
    share("IMMA_TENSOR_UTIL", 9, Pipe::Imma),
    share("FP64_UTIL", 11, Pipe::Fp64),
    share("FP32_UTIL", 12, Pipe::Fp32),
    share("FP16_UTIL", 13, Pipe::Fp16),
    cycles("SM_CYCLES_ELAPSED", 248, Pipe::Clock),
    cycles("SM_CYCLES_ACTIVE", 249, Pipe::Sm),
    cycles("MMA_CYCLES_ACTIVE", 250, Pipe::Tensor),
    cycles("DMMA_CYCLES_ACTIVE", 251, Pipe::Dmma),
    cycles("HMMA_CYCLES_ACTIVE", 252, Pipe::Hmma),
    cycles("IMMA_CYCLES_ACTIVE", 253, Pipe::Imma),
    cycles("DFMA_CYCLES_ACTIVE", 254, Pipe::Dfma),
    cycles("INTEGER_CYCLES_ACTIVE", 257, Pipe::Integer),
    cycles("FP64_CYCLES_ACTIVE", 258, Pipe::Fp64),
    cycles("FP32_CYCLES_ACTIVE", 259, Pipe::Fp32),
    cycles("FP16_CYCLES_ACTIVE", 260, Pipe::Fp16),
];
