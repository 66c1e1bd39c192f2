//! The numbers of `nvml.h` that the meter goes by, under their names there. A test holds them against NVIDIA's own header, in two
//! versions: the stand-in in the driver's place could share a mistake with the meter.

use nvml_wrapper::enum_wrappers::device::{Clock, Sampling};
use nvml_wrapper::error::{NvmlError, nvml_try};
use nvml_wrapper_sys::bindings::{NVML_GPM_METRICS_GET_VERSION, nvmlReturn_t};

pub use super::gpm::ROOM as GPM_ROOM;
use super::gpm::{METRICS, Metric};

/// A constant's name in the header and the number that the meter takes it for.
pub type Constant = (String, i64);

/// All of them, and none that only the stand-in knows.
pub fn relied_on() -> Vec<Constant> {
    let named = |name: &str, number: u32| (name.to_owned(), i64::from(number));
    let metric = |Metric { name, id }: &Metric| named(&format!("NVML_GPM_METRIC_{name}"), *id);
    let samples = [
        named("NVML_GPU_UTILIZATION_SAMPLES", Sampling::GpuUtilization.as_c()),
        named("NVML_PROCESSOR_CLK_SAMPLES", Sampling::ProcessorClock.as_c()),
        named("NVML_CLOCK_SM", Clock::SM.as_c()),
        named("NVML_GPM_METRICS_GET_VERSION", NVML_GPM_METRICS_GET_VERSION),
    ];
    METRICS.iter().map(metric).chain(samples).chain(faults()).collect()
}

/// Whether it is this fault.
type IsFault = fn(&NvmlError) -> bool;

/// By which code the driver says what a reading is given up, left out or tried again for.
fn faults() -> impl Iterator<Item = Constant> {
    let told: [(&str, IsFault); 9] = [
        ("NVML_ERROR_INVALID_ARGUMENT", |it| matches!(it, NvmlError::InvalidArg)),
        ("NVML_ERROR_NOT_SUPPORTED", |it| matches!(it, NvmlError::NotSupported)),
        ("NVML_ERROR_NO_PERMISSION", |it| matches!(it, NvmlError::NoPermission)),
        ("NVML_ERROR_NOT_FOUND", |it| matches!(it, NvmlError::NotFound)),
        ("NVML_ERROR_INSUFFICIENT_SIZE", |it| matches!(it, NvmlError::InsufficientSize(_))),
        ("NVML_ERROR_FUNCTION_NOT_FOUND", |it| matches!(it, NvmlError::FunctionNotFound)),
        ("NVML_ERROR_GPU_IS_LOST", |it| matches!(it, NvmlError::GpuLost)),
        ("NVML_ERROR_NO_DATA", |it| matches!(it, NvmlError::NoData)),
        ("NVML_ERROR_UNKNOWN", |it| matches!(it, NvmlError::Unknown)),
    ];
    let code = |is_it: IsFault| (1..=HIGHEST_CODE).find(|&code| nvml_try(code).is_err_and(|problem| is_it(&problem)));
    told.into_iter().filter_map(move |(name, is_it)| Some((name.to_owned(), i64::from(code(is_it)?))))
}

/// `NVML_ERROR_UNKNOWN`, behind a hole.
const HIGHEST_CODE: nvmlReturn_t = 999;

#[cfg(test)]
mod tests {
    use super::*;
    use nvml_wrapper_sys::bindings;

    /// Those that are old enough to stand in the header that the client's bindings were made from.
    #[test]
    fn numbers_are_those_of_the_bindings() {
        let relied_on = relied_on();
        let number = |name: &str| relied_on.iter().find(|(known, _)| known == name).unwrap().1;
        for (name, known) in [
            ("NVML_GPM_METRIC_ANY_TENSOR_UTIL", bindings::nvmlGpmMetricId_t_NVML_GPM_METRIC_ANY_TENSOR_UTIL),
            ("NVML_GPM_METRIC_FP64_UTIL", bindings::nvmlGpmMetricId_t_NVML_GPM_METRIC_FP64_UTIL),
            ("NVML_GPM_METRIC_FP32_UTIL", bindings::nvmlGpmMetricId_t_NVML_GPM_METRIC_FP32_UTIL),
            ("NVML_GPM_METRIC_FP16_UTIL", bindings::nvmlGpmMetricId_t_NVML_GPM_METRIC_FP16_UTIL),
            ("NVML_ERROR_GPU_IS_LOST", bindings::nvmlReturn_enum_NVML_ERROR_GPU_IS_LOST),
            ("NVML_ERROR_UNKNOWN", bindings::nvmlReturn_enum_NVML_ERROR_UNKNOWN),
            ("NVML_CLOCK_SM", bindings::nvmlClockType_enum_NVML_CLOCK_SM),
        ] {
            assert_eq!(number(name), i64::from(known), "{name}");
        }
        assert_eq!(relied_on.len(), METRICS.len() + 4 + 9, "{relied_on:?}");
    }
}
