//! GPM, through the raw calls: the client's own list of metrics ends before the cycle counters.

use nvml_wrapper::enums::gpm::GpmMetricId;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::gpm::{GpmSample, gpm_metrics_get};
use nvml_wrapper_sys::bindings::{nvmlGpmMetric_t, nvmlGpmMetricsGet_t};
use serde_json::{Value, json};

use super::stage::{Stage, first};

const CYCLES_ELAPSED: u32 = 248;
const HMMA_CYCLES: u32 = 252;
const NO_DATA: u32 = 21;
const NOT_SUPPORTED: u32 = 3;
/// Entries behind the requested ones, which the driver must leave alone.
const GUARDS: usize = 3;
const GUARD: u32 = 0xdead_beef;

/// The call with room for exactly these metrics, and guards behind them: codes and values.
fn metrics(from: &GpmSample<'_>, until: &GpmSample<'_>, ids: &[u32]) -> Vec<(u32, f64)> {
    #[repr(C)]
    struct Request {
        version: u32,
        count: u32,
        samples: [*mut std::ffi::c_void; 2],
        metrics: [nvmlGpmMetric_t; 16],
    }
    // SAFETY: numbers and pointers alone, for which zeros are values.
    let mut request: Request = unsafe { std::mem::zeroed() };
    // SAFETY: the samples outlive the call.
    request.samples = unsafe { [from.handle().cast(), until.handle().cast()] };
    request.version = 1;
    request.count = u32::try_from(ids.len()).unwrap();
    for (metric, id) in request.metrics.iter_mut().zip(ids.iter().copied().chain([GUARD; GUARDS])) {
        (metric.metricId, metric.nvmlReturn) = (id, GUARD);
    }
    // SAFETY: laid out as the client's struct, with room for as many metrics as it says.
    let code = unsafe { from.nvml().lib().nvmlGpmMetricsGet((&raw mut request).cast::<nvmlGpmMetricsGet_t>()) };
    assert_eq!(code, 0);
    let guards = request.metrics.iter().skip(ids.len()).take(GUARDS);
    assert!(guards.clone().all(|metric| (metric.metricId, metric.nvmlReturn) == (GUARD, GUARD)));
    request.metrics.iter().take(ids.len()).map(|metric| (metric.nvmlReturn, metric.value)).collect()
}

fn busy(driver: &str, more: &Value) -> Stage {
    let mut gpu = json!({
        "utilization": [[0, 80]],
        "sm_clock_mhz": [[0, 2000], [1000, 1000]],
        "activity": { "hmma": [[0, 900], [1000, 300]], "fp32": [[0, 50]], "imma": [[0, 10]] }
    });
    gpu.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    Stage::new(json!({ "driver_version": driver, "devices": [gpu] }))
}

#[test]
fn ratios_are_of_the_cycles_between_two_snapshots() {
    let stage = busy("580.159.03", &json!({}));
    let nvml = stage.open().unwrap();
    let gpu = first(&nvml);
    assert!(gpu.gpm_support().unwrap());
    let before = gpu.gpm_sample().unwrap();
    stage.at(2000);
    let after = gpu.gpm_sample().unwrap();
    // 90 % of the 2000 million cycles of the first second, 30 % of the 1000 million of the second: 70 % of all.
    let found = metrics(&before, &after, &[7, 12, 9, 5, 2, 11, CYCLES_ELAPSED, 400]);
    let codes: Vec<u32> = found.iter().map(|&(code, _)| code).collect();
    assert_eq!(codes, [0, 0, 0, 0, 0, 0, NOT_SUPPORTED, NOT_SUPPORTED]);
    let near = |index: usize, percent: f64| (found[index].1 - percent).abs() < 1e-9;
    assert!(
        near(0, 70.0) && near(1, 5.0) && near(2, 1.0) && near(3, 71.0) && near(4, 80.0) && near(5, 0.0),
        "{found:?}"
    );
    // The client's own struct, which is shorter than the newest header's.
    let through_client = gpm_metrics_get(&nvml, &before, &after, &[GpmMetricId::HmmaTensorUtil]).unwrap();
    assert!((through_client[0].as_ref().unwrap().value - 70.0).abs() < 1e-9);
}

#[test]
fn cycle_counters_come_with_the_driver_that_has_them() {
    let stage = busy("595.45.04", &json!({ "cycle_counter": { "starts_at": 5 }, "cycle_counter_scale": 132 }));
    let nvml = stage.open().unwrap();
    let gpu = first(&nvml);
    stage.at(1000);
    let sample = gpu.gpm_sample().unwrap();
    let found = metrics(&sample, &sample, &[CYCLES_ELAPSED, HMMA_CYCLES, 7]);
    assert_eq!(found[0], (0, 5.0 + 132.0 * 2e9));
    assert_eq!(found[1], (0, 5.0 + 132.0 * 1.8e9));
    // No time between the snapshots: there is no ratio.
    assert_eq!(found[2].0, NO_DATA);
}

#[test]
fn a_request_that_names_a_rejected_metric_fails_as_a_whole() {
    let stage = Stage::new(json!({ "gpm_rejects": [12], "devices": [{ "gpm": true }] }));
    let nvml = stage.open().unwrap();
    let gpu = first(&nvml);
    let sample = gpu.gpm_sample().unwrap();
    let asked = |metric| gpm_metrics_get(&nvml, &sample, &sample, &[GpmMetricId::AnyTensorUtil, metric]);
    assert!(matches!(asked(GpmMetricId::Fp32Util), Err(NvmlError::InvalidArg)));
    assert!(asked(GpmMetricId::Fp16Util).is_ok());
}

#[test]
fn a_snapshot_is_as_old_as_the_last_renewal() {
    let stage = busy("580.159.03", &json!({}));
    let nvml = stage.open().unwrap();
    let gpu = first(&nvml);
    stage.at(310);
    let before = gpu.gpm_sample().unwrap();
    stage.at(399);
    assert_eq!(metrics(&before, &gpu.gpm_sample().unwrap(), &[7])[0].0, NO_DATA);
    stage.at(400);
    assert_eq!(metrics(&before, &gpu.gpm_sample().unwrap(), &[7])[0].0, 0);
}

#[test]
fn gpus_before_hopper_have_no_gpm() {
    let stage = busy("580.159.03", &json!({ "compute_capability": [8, 0] }));
    let nvml = stage.open().unwrap();
    let gpu = first(&nvml);
    assert!(!gpu.gpm_support().unwrap());
    assert!(matches!(gpu.gpm_sample(), Err(NvmlError::NotSupported)));
}

#[test]
fn an_instance_has_its_own_activity() {
    let slice =
        |uuid: &str, hmma: u32| json!({ "uuid": uuid, "multiprocessors": 16, "activity": { "hmma": [[0, hmma]] } });
    let stage = busy("580.159.03", &json!({ "mig": [slice("MIG-a", 250), slice("MIG-b", 125)] }));
    let nvml = stage.open().unwrap();
    let gpu = first(&nvml);
    let slice = gpu.mig_device_by_index(1).unwrap();
    let through_parent = || gpu.gpm_mig_sample(2).unwrap();
    let (before, own) = (through_parent(), slice.gpm_sample().unwrap());
    stage.at(1000);
    assert_eq!(metrics(&before, &through_parent(), &[7]), [(0, 12.5)]);
    assert_eq!(metrics(&own, &slice.gpm_sample().unwrap(), &[7]), [(0, 12.5)]);
    assert!(gpu.gpm_mig_sample(3).is_err());
}
