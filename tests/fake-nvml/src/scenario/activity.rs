//! What a GPU's pipes did, and what GPM's counters say of it.

use serde::Deserialize;

use super::steps::{Steps, integral, product_integral};

/// Share of the multiprocessors' cycles in which each pipe was active, per mille.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Activity {
    /// Any warp; the GPU's `utilization` if it is empty.
    pub sm: Steps,
    /// Any tensor pipe; the sum of the four if it is empty, as if no two were ever active at once.
    pub tensor: Steps,
    /// FP16, BF16, TF32 and FP8 products.
    pub hmma: Steps,
    /// Integer products.
    pub imma: Steps,
    /// FP64 products.
    pub dmma: Steps,
    /// FP64 products, as Hopper counts them.
    pub dfma: Steps,
    /// FP64 outside tensor pipes.
    pub fp64: Steps,
    /// FP32 outside tensor pipes.
    pub fp32: Steps,
    /// FP16 outside tensor pipes.
    pub fp16: Steps,
    /// Integers.
    pub integer: Steps,
}

/// A pipe that GPM tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pipe {
    /// None of them: the cycles that elapsed.
    Clock,
    /// Any warp.
    Sm,
    /// Any tensor pipe.
    Tensor,
    /// FP64 tensor pipe, first counter.
    Dfma,
    /// FP16 and narrower tensor pipe.
    Hmma,
    /// FP64 tensor pipe, second counter.
    Dmma,
    /// Integer tensor pipe.
    Imma,
    /// FP64 vector pipe.
    Fp64,
    /// FP32 vector pipe.
    Fp32,
    /// FP16 vector pipe.
    Fp16,
    /// Integer vector pipe.
    Integer,
}

const TENSOR_PIPES: [Pipe; 4] = [Pipe::Dfma, Pipe::Hmma, Pipe::Dmma, Pipe::Imma];

/// Megahertz × milliseconds are thousands of cycles.
fn elapsed_cycles(clock_mhz: &Steps, from: u64, until: u64) -> u128 {
    u128::from(integral(clock_mhz, from, until)) * 1000
}

impl Activity {
    /// Cycles of one multiprocessor in which a pipe was active: per mille × megahertz × milliseconds.
    pub fn active_cycles(&self, pipe: Pipe, clock_mhz: &Steps, from: u64, until: u64) -> u128 {
        let steps = match pipe {
            Pipe::Clock => return elapsed_cycles(clock_mhz, from, until),
            Pipe::Tensor if self.tensor.is_empty() => return self.any_tensor(clock_mhz, from, until),
            Pipe::Tensor => &self.tensor,
            Pipe::Sm => &self.sm,
            Pipe::Dfma => &self.dfma,
            Pipe::Hmma => &self.hmma,
            Pipe::Dmma => &self.dmma,
            Pipe::Imma => &self.imma,
            Pipe::Fp64 => &self.fp64,
            Pipe::Fp32 => &self.fp32,
            Pipe::Fp16 => &self.fp16,
            Pipe::Integer => &self.integer,
        };
        product_integral(steps, clock_mhz, from, until)
    }

    fn any_tensor(&self, clock_mhz: &Steps, from: u64, until: u64) -> u128 {
        let sum: u128 = TENSOR_PIPES.iter().map(|&pipe| self.active_cycles(pipe, clock_mhz, from, until)).sum();
        sum.min(elapsed_cycles(clock_mhz, from, until))
    }
}
