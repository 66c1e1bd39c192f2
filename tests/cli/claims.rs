//! Which GPUs are the job's, on the real binary: what the job turns out to use is claimed, from its start on.

use serde_json::{Value, json};

use crate::gpu::{library, with_library};
use crate::job::flop;
use crate::place::{Outcome, Place, finish};

/// Strict peak of an H200: 132 multiprocessors x 8192 FLOP per clock x 1980 MHz.
const H200_PEAK: u128 = 132 * 8192 * 1_980_000_000;

/// Two GPUs; the second one is busy and is used by the process whose number stands in `worker`.
fn two_gpus(second: &Value) -> Value {
    let mut gpu = json!({ "uuid": "GPU-bb", "utilization": [[0, 100]], "processes": [{ "pid_file": "worker" }] });
    gpu.as_object_mut().unwrap().extend(second.as_object().unwrap().clone());
    json!({ "devices": [{ "uuid": "GPU-aa" }, gpu] })
}

struct Claimed {
    outcome: Outcome,
    summary: Value,
}

/// Runs a job on a machine with these GPUs and in this environment.
fn run(scenario: &Value, environment: &[(&str, &str)], options: &str, script: &str) -> Claimed {
    let place = Place::new();
    let library = library(&place, scenario);
    let mut command = with_library(&place, library, &format!("--summary s.json {options}"), script);
    command.envs(environment.iter().copied());
    let outcome = finish(command);
    let summary = serde_json::from_str(&fs_err::read_to_string(place.path("s.json")).unwrap()).unwrap();
    Claimed { outcome, summary }
}

impl Claimed {
    fn gpus(&self) -> Vec<&str> {
        let devices = self.summary["ceiling"]["devices"].as_array().unwrap().iter();
        devices.filter_map(|device| device["device"].as_str()).filter(|id| !id.starts_with("cpu:")).collect()
    }

    fn device(&self, id: &str) -> &Value {
        let mut devices = self.summary["ceiling"]["devices"].as_array().unwrap().iter();
        devices.find(|device| device["device"] == id).unwrap_or_else(|| panic!("no {id} in {:#}", self.summary))
    }

    /// The text of the one finding with this code.
    fn finding(&self, code: &str) -> &str {
        let findings = self.summary["findings"].as_array().unwrap().iter();
        let found: Vec<&Value> = findings.filter(|finding| finding["code"] == code).collect();
        let [finding] = found.as_slice() else { panic!("{code}: {found:?} in {:#}", self.summary) };
        finding["text"].as_str().unwrap()
    }
}

/// The hole that workers of torchrun, Ray and vLLM make: they set the variable in their own memory, where nobody sees it.
#[test]
fn a_worker_that_takes_another_gpu_claims_it_from_the_jobs_start_on() {
    let script = "sleep 1.2; echo $$ > worker; sleep 3.3; exit 4";
    let claimed = run(&two_gpus(&json!({})), &[("CUDA_VISIBLE_DEVICES", "0")], "", script);
    assert_eq!(claimed.outcome.code(), Some(4), "{:?}", claimed.outcome);
    assert_eq!(claimed.gpus(), ["GPU-aa", "GPU-bb"]);
    assert!(claimed.finding("gpus-claimed").contains("1 GPU is claimed, by this rule: CUDA_VISIBLE_DEVICES=0"));
    let finding = claimed.finding("gpu-claimed-later");
    assert!(finding.contains("GPU-bb") && finding.contains("from the job's start on"), "{finding}");
    assert!(finding.contains("of the job runs on it") && finding.contains("(sh)"), "{finding}");
    assert!(claimed.outcome.stderr.contains("GPU-bb is claimed as well"), "it is said while the job runs");
    // It was busy all the time, before it was claimed as well.
    let gpu = claimed.device("GPU-bb");
    assert!(gpu["held_seconds"].as_f64().unwrap() >= 4.5, "{gpu:#}");
    assert!(flop(&gpu["flop"]) >= 45 * H200_PEAK / 10, "{gpu:#}");
    assert_eq!(claimed.summary["ceiling"]["complete"], true);
}

#[test]
fn a_worker_that_is_started_with_another_choice_claims_it() {
    let script = "CUDA_VISIBLE_DEVICES=1 sleep 2.5";
    let claimed = run(&two_gpus(&json!({})), &[("CUDA_VISIBLE_DEVICES", "0")], "", script);
    assert_eq!(claimed.gpus(), ["GPU-aa", "GPU-bb"]);
    let finding = claimed.finding("gpu-claimed-later");
    assert!(finding.contains("(sleep) of the job was started with CUDA_VISIBLE_DEVICES=1"), "{finding}");
}

/// Nobody asks the driver for a job without GPUs, until it turns out to have one.
#[test]
fn a_job_that_was_to_have_no_gpu_and_takes_one_is_found_out() {
    for (environment, options) in [(&[("CUDA_VISIBLE_DEVICES", "")][..], ""), (&[], "--gpus none")] {
        let script = "CUDA_VISIBLE_DEVICES=1 sh -c 'echo $$ > worker; sleep 4'";
        let claimed = run(&two_gpus(&json!({})), environment, options, script);
        assert_eq!(claimed.gpus(), ["GPU-bb"], "{:#}", claimed.summary);
        assert!(flop(&claimed.device("GPU-bb")["flop"]) >= 4 * H200_PEAK);
    }
}

/// Looked at before the first reading is due: a second is long enough to compute in.
#[test]
fn a_short_job_with_a_choice_of_its_own_is_seen() {
    let command = "exec env CUDA_VISIBLE_DEVICES=1 sleep 0.8";
    let claimed = run(&two_gpus(&json!({})), &[("CUDA_VISIBLE_DEVICES", "0")], "", command);
    assert_eq!(claimed.gpus(), ["GPU-aa", "GPU-bb"]);
}

/// What a launcher inside a script starts is neither seen nor bounded, and the ceiling proves nothing of it.
#[test]
fn a_launcher_inside_a_script_leaves_the_ceiling_missing() {
    let script = "printf '#!/bin/sh\nsleep 2.4\n' > srun; chmod +x srun; ./srun python train.py";
    let claimed = run(&json!({ "devices": [] }), &[], "--modification demo", script);
    let ceiling = &claimed.summary["ceiling"];
    assert_eq!((&ceiling["complete"], &ceiling["flop"]), (&json!(false), &Value::Null), "{ceiling:#}");
    assert_eq!(claimed.summary["assessment"]["verdict"], "undetermined");
    let reason = claimed.device("elsewhere:srun").to_string();
    assert!(reason.contains("(`srun`) of the job has the work done outside this process tree"), "{reason}");
}

/// The kernel cuts names at fifteen bytes, inside a character too: what it tells of such a process is no text.
#[test]
fn a_launcher_below_a_name_that_is_cut_inside_a_character_is_seen() {
    let script = "printf '#!/bin/sh\nsleep 2.4\n' > srun; printf '#!/bin/sh\n./srun python train.py\n:\n' > run_训练脚本.sh; \
                  chmod +x srun run_训练脚本.sh; ./run_训练脚本.sh; :";
    let claimed = run(&json!({ "devices": [] }), &[], "--modification demo", script);
    assert_eq!(claimed.summary["ceiling"]["complete"], false, "{:#}", claimed.summary["ceiling"]);
    assert!(claimed.device("elsewhere:srun").is_object());
}

/// The driver lists the same GPU cut at first, and whole from two seconds on, when a process of the job runs on it.
#[test]
fn a_gpu_that_is_cut_no_more_while_the_job_runs_is_claimed_as_a_whole() {
    let instance = json!({ "uuid": "MIG-a", "multiprocessors": 16 });
    let devices = json!([
        { "uuid": "GPU-aa", "minor_number": 0, "mig": [instance], "present": [0, 2000] },
        { "uuid": "GPU-aa", "minor_number": 0, "utilization": [[0, 100]], "processes": [{ "pid_file": "worker" }],
          "present": [2000, 600_000] },
    ]);
    let scenario = json!({ "origin_file": "began", "devices": devices });
    let script = |rest: &str| format!("while [ ! -s began ]; do sleep 0.02; done; {rest}");
    let given = [("CUDA_VISIBLE_DEVICES", "MIG-a")];
    let claimed = run(&scenario, &given, "", &script("sleep 2.2; echo $$ > worker; sleep 4"));
    assert_eq!(claimed.gpus(), ["MIG-a", "GPU-aa"], "{:#}", claimed.summary);
    assert!(flop(&claimed.device("GPU-aa")["flop"]) >= 6 * H200_PEAK, "from the job's start on");
    assert!(claimed.finding("gpu-claimed-later").contains("of the job runs on it"));
    assert!(claimed.finding("gpu-vanished").contains("MIG-a"));
    // So soon after that the driver has not said who runs there.
    let claimed = run(&scenario, &given, "", &script("sleep 2.2"));
    assert_eq!(claimed.gpus(), ["MIG-a", "GPU-aa"], "{:#}", claimed.summary);
    assert!(claimed.finding("gpu-claimed-later").contains("MIG-a on the same GPU, which was the job's, is gone"));
}

#[test]
fn a_gpu_that_only_others_use_is_not_claimed() {
    // The number is the test's own process's: no part of the job.
    let other = json!({ "processes": [{ "pid": std::process::id() }] });
    let claimed = run(&two_gpus(&other), &[("CUDA_VISIBLE_DEVICES", "0")], "", "sleep 2.2");
    assert_eq!(claimed.gpus(), ["GPU-aa"]);
}

#[test]
fn what_slurm_gave_is_claimed_only_where_the_rest_can_be_watched() {
    let slurm = [("SLURM_JOB_GPUS", "0")];
    // In a container the rest is watched only where the job itself is seen in the driver's lists.
    let mut seen = two_gpus(&json!({}));
    seen["devices"][0]["processes"] = json!([{ "pid_file": "job" }]);
    let claimed = run(&seen, &slurm, "", "echo $$ > job; sleep 3.2");
    assert_eq!(claimed.gpus(), ["GPU-aa"]);
    assert!(claimed.finding("gpus-claimed").contains("SLURM_JOB_GPUS=0"));
    let blind = json!({ "not_supported": ["nvmlDeviceGetComputeRunningProcesses_v3"] });
    let claimed = run(&two_gpus(&blind), &slurm, "", "sleep 1.5");
    assert_eq!(claimed.gpus(), ["GPU-aa", "GPU-bb"]);
    assert!(claimed.finding("gpu-claimed-later").contains("nothing keeps the job from it"));
}

#[test]
fn a_gpu_that_may_not_be_opened_is_nobodys_and_the_others_are_read() {
    let hidden = json!({ "faults": [{ "call": "nvmlDeviceGetHandleByIndex_v2", "does": { "code": 4 } }] });
    let claimed = run(&two_gpus(&hidden), &[], "", "sleep 1.2");
    assert_eq!(claimed.gpus(), ["GPU-aa"]);
    assert_eq!(claimed.summary["ceiling"]["complete"], true);
}

/// A driver that ends whoever asks it for processes must not take the readings with it for ever.
#[test]
fn a_list_of_processes_that_hangs_does_not_hold_up_the_jobs_end() {
    let hang = json!({
        "hangs": [{ "call": "nvmlDeviceGetComputeRunningProcesses_v3", "from_ms": 0, "until_ms": 600_000 }]
    });
    let claimed = run(&two_gpus(&hang), &[("CUDA_VISIBLE_DEVICES", "0")], "", "sleep 1.5; exit 5");
    assert_eq!(claimed.outcome.code(), Some(5));
    // Nothing could be read, and the idle GPU is charged in full.
    assert!(flop(&claimed.device("GPU-aa")["flop"]) >= H200_PEAK);
}
