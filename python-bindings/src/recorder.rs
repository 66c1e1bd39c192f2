//! The connection to the meter, as Python sees it.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use flopsmeter_core::facts::{
    HookFinding, ImageGrids, ModelFacts, PackedSequences, Passes, Phase, Process, Progress, TracedStep,
};
use flopsmeter_meter::hook::client::HookClient;
use pyo3::exceptions::{PyConnectionError, PyValueError};
use pyo3::prelude::*;

/// One process's connection to its meter.
#[pyclass(frozen, module = "flopsmeter._flopsmeter")]
pub(crate) struct Recorder {
    /// Stands outside the lock: in a forked child the lock may be held by a thread that does not exist there.
    pid: u32,
    client: Mutex<HookClient>,
}

impl Recorder {
    /// Does nothing in a forked child.
    fn with<T: Default>(&self, act: impl FnOnce(&mut HookClient) -> T) -> T {
        if self.pid != std::process::id() {
            return T::default();
        }
        act(&mut self.client.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[pymethods]
impl Recorder {
    /// Connects to the meter's socket and says who speaks.
    #[new]
    #[expect(clippy::needless_pass_by_value, reason = "values taken over from Python are owned")]
    #[pyo3(signature = (path, *, host, rank = 0, local_rank = 0, world_size = 1))]
    fn connect(
        py: Python<'_>,
        path: PathBuf,
        host: String,
        rank: u32,
        local_rank: u32,
        world_size: u32,
    ) -> PyResult<Self> {
        let pid = std::process::id();
        let process = Process { pid, host, rank, local_rank, world_size };
        let client = py.detach(|| HookClient::connect(&path, process)).map_err(|problem| {
            PyConnectionError::new_err(format!("cannot connect to the meter at {}: {problem}", path.display()))
        })?;
        Ok(Self { pid, client: Mutex::new(client) })
    }

    /// Tells of a model; `facts` is the JSON of one.
    fn describe(&self, py: Python<'_>, facts: &str) -> PyResult<()> {
        let facts: ModelFacts = py
            .detach(|| serde_json::from_str(facts))
            .map_err(|problem| PyValueError::new_err(format!("not the facts of a model: {problem}")))?;
        self.with(|client| client.describe(facts));
        Ok(())
    }

    /// Adds forward passes of one form; `packed` and `image_grid` are (count, size) pairs.
    #[pyo3(signature = (
        model, phase, gradient, sequences, length, cached_length, real_tokens, /, *, decoder_length = 0,
        encoder_skipped = false, images = 0, image_grid = Vec::new(), packed = Vec::new(), adapters_disabled = false,
        head_positions = None, head_recomputed = false, count = 1
    ))]
    #[expect(clippy::too_many_arguments, reason = "called once a pass: a plain call is the cheapest")]
    #[expect(clippy::fn_params_excessive_bools, reason = "the fields of `Passes`, by their names")]
    fn record(
        &self,
        model: u32,
        phase: &str,
        gradient: bool,
        sequences: u64,
        length: u64,
        cached_length: u64,
        real_tokens: Option<u64>,
        decoder_length: u64,
        encoder_skipped: bool,
        images: u64,
        image_grid: Vec<(u64, [u64; 3])>,
        packed: Vec<(u64, u64)>,
        adapters_disabled: bool,
        head_positions: Option<u64>,
        head_recomputed: bool,
        count: u64,
    ) -> PyResult<()> {
        let phase = phase_of(phase)?;
        let passes = Passes {
            cached_length,
            real_tokens,
            decoder_length,
            encoder_skipped,
            images,
            image_grid: image_grid.into_iter().map(|(count, grid)| ImageGrids { count, grid }).collect(),
            packed: packed.into_iter().map(|(count, length)| PackedSequences { count, length }).collect(),
            adapters_disabled,
            head_positions,
            head_recomputed,
            ..Passes::text(phase, gradient, sequences, length, count)
        };
        self.with(|client| client.record(model, passes));
        Ok(())
    }

    /// Keeps where the trainer stands for the next flush.
    #[pyo3(signature = (step, first_step, max_steps))]
    fn progress(&self, step: u64, first_step: u64, max_steps: Option<u64>) {
        self.with(|client| client.progress(Progress { step, first_step, max_steps }));
    }

    /// Tells of a traced step; `step` is the JSON of one.
    fn traced(&self, py: Python<'_>, step: &str) -> PyResult<()> {
        let step: TracedStep = py
            .detach(|| serde_json::from_str(step))
            .map_err(|problem| PyValueError::new_err(format!("not a traced step: {problem}")))?;
        self.with(|client| client.trace(step));
        Ok(())
    }

    /// Keeps a finding for the next flush.
    fn finding(&self, code: String, text: String) {
        self.with(|client| client.find(HookFinding { code, text }));
    }

    /// Hands over what was recorded, without waiting.
    fn flush(&self) {
        self.with(HookClient::flush);
    }

    /// The same, unless it was done a moment ago.
    fn flush_if_due(&self) {
        self.with(HookClient::flush_if_due);
    }

    /// Hands over everything, says goodbye and waits at most so many seconds; other threads run meanwhile.
    fn close(&self, py: Python<'_>, seconds: f64) {
        let patience = Duration::try_from_secs_f64(seconds).unwrap_or_default();
        py.detach(|| self.with(|client| client.close(patience)));
    }

    /// Drops a forked child's copy of the socket, so that the meter sees its parent's end; sends nothing.
    fn abandon(&self) {
        if let Ok(mut client) = self.client.try_lock() {
            client.abandon();
        }
    }

    /// Whether the meter's gate has every rank save and stop after this step; takes what has arrived, without waiting.
    fn should_stop(&self, step: u64) -> bool {
        self.with(|client| client.should_stop(step))
    }

    /// Why the connection was lost, the first time this is asked after the loss.
    fn take_loss(&self) -> Option<String> {
        self.with(HookClient::take_loss)
    }

    /// Whether what is recorded still reaches somebody.
    #[getter]
    fn is_open(&self) -> bool {
        self.with(|client| client.is_open())
    }
}

fn phase_of(name: &str) -> PyResult<Phase> {
    Phase::from_name(name).ok_or_else(|| {
        let known = Phase::ALL.map(Phase::name).join(", ");
        PyValueError::new_err(format!("`{name}` is no phase; it may be one of {known}"))
    })
}
