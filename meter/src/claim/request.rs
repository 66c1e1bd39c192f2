//! What is said of the job's GPUs: by the user, and by the environment.

use std::str::FromStr;

/// What the user asked for with `--gpus`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum GpuRequest {
    /// Nothing: the environment decides.
    #[default]
    Unsaid,
    /// `all`
    All,
    /// `none`
    None,
    /// Indices in the driver's order, or UUIDs or beginnings of them.
    Listed(Vec<String>),
}

/// A `--gpus` value that names nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no list of GPUs; write `all`, `none`, or indices and UUIDs separated by commas")]
pub struct GpuRequestProblem(String);

impl FromStr for GpuRequest {
    type Err = GpuRequestProblem;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.trim() {
            "all" => Ok(Self::All),
            "none" => Ok(Self::None),
            list => {
                let entries: Vec<String> = list.split(',').map(|entry| entry.trim().to_owned()).collect();
                let known = |entry: &String| {
                    let uuid = entry.starts_with("GPU-") || entry.starts_with("MIG-");
                    uuid || (!entry.is_empty() && entry.bytes().all(|byte| byte.is_ascii_digit()))
                };
                if entries.iter().all(known) {
                    Ok(Self::Listed(entries))
                } else {
                    Err(GpuRequestProblem(text.to_owned()))
                }
            }
        }
    }
}

/// What the job's environment says of GPUs: the variables of these names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GpuEnvironment {
    /// `CUDA_VISIBLE_DEVICES`
    pub visible_devices: Option<String>,
    /// `CUDA_DEVICE_ORDER`
    pub device_order: Option<String>,
    /// `NVIDIA_VISIBLE_DEVICES`, by which container runtimes are told what to let in.
    pub container_devices: Option<String>,
    /// `SLURM_STEP_GPUS`
    pub slurm_step_gpus: Option<String>,
    /// `SLURM_JOB_GPUS`
    pub slurm_job_gpus: Option<String>,
    /// `ROCR_VISIBLE_DEVICES` or `HIP_VISIBLE_DEVICES`, with its value: a sign of AMD GPUs.
    pub amd_devices: Option<String>,
}
