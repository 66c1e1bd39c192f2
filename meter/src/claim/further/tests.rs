use flopsmeter_core::sample::Mig;

use super::super::tests::{four, gpu};
use super::super::{GpuEnvironment, GpuRequest, claim};
use super::*;
use crate::device::nvml::ListedInstance;

fn first_choice(environment: &GpuEnvironment, request: &str) -> Claim {
    let request = if request.is_empty() { GpuRequest::Unsaid } else { request.parse().unwrap() };
    claim(&request, environment, &four())
}

fn by_cuda() -> Claim {
    let environment = GpuEnvironment { visible_devices: Some("0".to_owned()), ..GpuEnvironment::default() };
    first_choice(&environment, "")
}

fn by_word() -> Claim {
    let environment = GpuEnvironment { slurm_job_gpus: Some("0".to_owned()), ..GpuEnvironment::default() };
    first_choice(&environment, "")
}

fn by_user() -> Claim {
    first_choice(&GpuEnvironment::default(), "0")
}

fn seen(sights: &[(&str, Sight)]) -> BTreeMap<String, Sight> {
    sights.iter().map(|(id, sight)| ((*id).to_owned(), sight.clone())).collect()
}

fn unclear() -> Sight {
    Sight::Unclear("the driver does not say".to_owned())
}

fn opened(minors: &[u32]) -> Traces {
    let open = minors.iter().map(|&minor| (Some(minor), "process 7 (python)".to_owned())).collect();
    Traces { open, ..Traces::default() }
}

fn further(mut first: Claim, sights: &[(&str, Sight)], traces: &Traces) -> (Vec<String>, Vec<String>) {
    let (devices, findings) = claim_further(&mut first, &four(), &seen(sights), traces);
    let again = claim_further(&mut first, &four(), &seen(sights), traces);
    assert!(again.0.is_empty(), "what is claimed is claimed once");
    let ids = devices.into_iter().map(|device| device.id).collect();
    (ids, findings.into_iter().map(|finding| format!("{}: {}", finding.code, finding.text)).collect())
}

#[test]
fn a_process_of_the_job_on_another_gpu_claims_it_whatever_was_said() {
    for first in [by_cuda(), by_word(), by_user()] {
        let rule = first.rule.clone();
        let sights = [("GPU-ab22", Sight::Others), ("GPU-cc33", Sight::Job("process 9 (python)".to_owned()))];
        let (ids, findings) = further(first, &sights, &Traces::default());
        assert_eq!(ids, ["GPU-cc33"]);
        assert!(findings[0].starts_with("gpu-claimed-later: NVIDIA H200 GPU-cc33 is claimed as well"), "{findings:?}");
        assert!(findings[0].contains("process 9 (python)") && findings[0].contains(&rule), "{findings:?}");
    }
}

/// CUDA opens the nodes of all GPUs that it may see.
#[test]
fn an_open_node_is_no_evidence_where_the_driver_lists_processes() {
    let sights = [("GPU-ab22", Sight::Others), ("GPU-cc33", Sight::Others), ("GPU-dd44", Sight::Others)];
    for first in [by_cuda(), by_word(), by_user()] {
        assert_eq!(further(first, &sights, &opened(&[0, 1, 2, 3])), (Vec::new(), Vec::new()));
    }
}

#[test]
fn an_open_node_is_evidence_where_the_driver_lists_none() {
    let sights = [("GPU-ab22", unclear()), ("GPU-cc33", unclear()), ("GPU-dd44", Sight::Others)];
    assert_eq!(further(by_cuda(), &sights, &opened(&[0, 2, 3])).0, ["GPU-cc33"]);
    assert!(further(by_cuda(), &sights, &Traces::default()).0.is_empty());
    let hidden = Traces { unreadable: Some("process 8 (sudo)".to_owned()), ..Traces::default() };
    assert_eq!(further(by_cuda(), &sights, &hidden).0, ["GPU-ab22", "GPU-cc33"]);
    let somewhere = Traces { open: BTreeMap::from([(None, "process 7 (python)".to_owned())]), ..Traces::default() };
    assert_eq!(further(by_cuda(), &sights, &somewhere).0, ["GPU-ab22", "GPU-cc33"]);
}

#[test]
fn a_word_that_binds_nobody_holds_only_as_long_as_it_can_be_checked() {
    let (ids, findings) =
        further(by_word(), &[("GPU-ab22", unclear()), ("GPU-cc33", Sight::Others)], &Traces::default());
    assert_eq!(ids, ["GPU-ab22"]);
    assert!(findings[0].contains("nothing keeps the job from it"), "{findings:?}");
}

#[test]
fn the_user_is_taken_at_his_word_where_nothing_can_be_seen_and_that_is_said() {
    let hidden = Traces { unreadable: Some("process 8 (sudo)".to_owned()), ..Traces::default() };
    let somewhere = Traces { open: BTreeMap::from([(None, "process 7 (python)".to_owned())]), ..Traces::default() };
    for traces in [hidden, somewhere] {
        let (ids, findings) = further(by_user(), &[("GPU-cc33", unclear())], &traces);
        assert_eq!(ids, Vec::<String>::new());
        assert!(findings[0].starts_with("gpu-use-unknown: "), "{findings:?}");
    }
    assert_eq!(further(by_user(), &[("GPU-cc33", unclear())], &opened(&[0])), (Vec::new(), Vec::new()));
}

#[test]
fn an_open_node_is_stronger_than_the_users_word_where_nothing_can_be_seen() {
    let (ids, findings) = further(by_user(), &[("GPU-cc33", unclear())], &opened(&[0, 2]));
    assert_eq!(ids, ["GPU-cc33"]);
    assert!(findings[0].contains("has /dev/nvidia2 open, and whether it runs there cannot be seen"), "{findings:?}");
}

/// The node of the GPU is open for the instance that was named.
#[test]
fn a_node_that_another_instance_needs_is_no_evidence_against_the_users_word() {
    let sights = seen(&[("MIG-11", unclear()), ("MIG-20", unclear())]);
    let mut first = claim(&"MIG-10".parse().unwrap(), &GpuEnvironment::default(), &cut());
    let (devices, findings) = claim_further(&mut first, &cut(), &sights, &opened(&[1]));
    assert_eq!(devices, []);
    assert!(findings.iter().all(|finding| finding.code == "gpu-use-unknown"), "{findings:?}");
    let traces = Traces { open: opened(&[1]).open, ..accessed(&[(1, 2, Some(0))]) };
    let (devices, _) = claim_further(&mut first, &cut(), &sights, &traces);
    assert_eq!(devices.iter().map(|device| device.id.as_str()).collect::<Vec<_>>(), ["MIG-20"]);
}

#[test]
fn a_gpu_whose_node_is_not_known_may_have_any_that_is_no_other_gpus() {
    let mut present = four();
    present[2].minor_number = None;
    let claimed = |minors: &[u32]| {
        let sights = seen(&[("GPU-cc33", unclear())]);
        claim_further(&mut by_user(), &present, &sights, &opened(minors)).0.len()
    };
    assert_eq!((claimed(&[0, 1, 3]), claimed(&[0, 7])), (0, 1));
    assert!(may_have_opened_unlisted(&present, &opened(&[0, 7])));
    assert!(!may_have_opened_unlisted(&present, &opened(&[0, 1, 3])));
}

#[test]
fn a_worker_that_was_started_with_another_choice_claims_it() {
    let key = ("2,3".to_owned(), None);
    let traces = Traces { environments: BTreeMap::from([(key, "process 9 (python)".to_owned())]), ..Traces::default() };
    let (ids, findings) = further(by_cuda(), &[], &traces);
    assert_eq!(ids, ["GPU-cc33", "GPU-dd44"]);
    assert!(findings[0].contains("was started with CUDA_VISIBLE_DEVICES=2,3"), "{findings:?}");
}

#[test]
fn a_node_of_a_gpu_that_the_driver_does_not_list_leaves_no_bound() {
    let (devices, _) = claim_further(&mut by_cuda(), &four(), &BTreeMap::new(), &opened(&[0, 6]));
    assert_eq!(devices.iter().map(|device| device.id.as_str()).collect::<Vec<_>>(), ["node:/dev/nvidia6"]);
    assert!(matches!(devices[0].facts, DeviceFacts::Unreadable { .. }));
}

#[test]
fn of_a_gpu_that_is_cut_only_the_instance_that_is_used_is_claimed() {
    let mut cut = four();
    let instance =
        |uuid: &str| ListedInstance { uuid: uuid.to_owned(), multiprocessors: Some(16), ..ListedInstance::default() };
    cut[1].facts.mig = Mig::Whole;
    cut[1].instances = vec![instance("MIG-1"), instance("MIG-2")];
    let environment = GpuEnvironment { visible_devices: Some("MIG-1".to_owned()), ..GpuEnvironment::default() };
    let mut first = claim(&GpuRequest::Unsaid, &environment, &cut);
    let rest: Vec<String> = unclaimed(&first, &cut).into_iter().map(|device| device.id).collect();
    assert_eq!(rest, ["GPU-aa11", "MIG-2", "GPU-cc33", "GPU-dd44"]);
    let sights = seen(&[("MIG-2", Sight::Job("process 9".to_owned()))]);
    let (devices, _) = claim_further(&mut first, &cut, &sights, &Traces::default());
    assert_eq!(devices.iter().map(|device| device.id.as_str()).collect::<Vec<_>>(), ["MIG-2"]);
}

/// One GPU came in the first place of the driver's order: CUDA's index 0 is another one for each process that starts now.
#[test]
fn what_a_choice_names_once_other_gpus_are_there_is_claimed_as_well() {
    let now = vec![gpu(0, "GPU-ee55", "NVIDIA H200"), gpu(1, "GPU-aa11", "NVIDIA H200")];
    let listed: BTreeSet<String> = now.iter().map(|gpu| gpu.uuid.clone()).collect();
    let again = |mut first: Claim, request: &str, environment: &GpuEnvironment| {
        let request = if request.is_empty() { GpuRequest::Unsaid } else { request.parse().unwrap() };
        let choice = claim(&request, environment, &now);
        let (devices, findings) = claim_again(&mut first, &choice, &listed);
        assert!(claim_again(&mut first, &choice, &listed).0.is_empty(), "once");
        assert!(findings.iter().all(|finding| finding.code == "gpu-claimed-later"));
        devices.into_iter().map(|device| device.id).collect::<Vec<_>>()
    };
    let cuda = GpuEnvironment { visible_devices: Some("0".to_owned()), ..GpuEnvironment::default() };
    assert_eq!(again(by_cuda(), "", &cuda), ["GPU-ee55"]);
    assert_eq!(again(first_choice(&GpuEnvironment::default(), ""), "", &GpuEnvironment::default()), ["GPU-ee55"]);
    // `--gpus 0,2` was said of the GPUs that there were; that there is no third one any more is no device to add.
    assert!(again(first_choice(&GpuEnvironment::default(), "0,2"), "0,2", &GpuEnvironment::default()).is_empty());
}

/// Two GPU instances of the second GPU, the first one with two compute instances.
fn cut() -> Vec<ListedGpu> {
    let instance = |uuid: &str, gpu_instance, compute_instance| ListedInstance {
        uuid: uuid.to_owned(),
        multiprocessors: Some(16),
        gpu_instance: Some(gpu_instance),
        compute_instance: Some(compute_instance),
        ..ListedInstance::default()
    };
    let mut present = four();
    present[1].facts.mig = Mig::Whole;
    present[1].instances = vec![instance("MIG-10", 1, 0), instance("MIG-11", 1, 1), instance("MIG-20", 2, 0)];
    present
}

fn accessed(nodes: &[(u32, u32, Option<u32>)]) -> Traces {
    let node = |&(gpu, gpu_instance, compute_instance): &(u32, u32, Option<u32>)| {
        (MigAccess { gpu, gpu_instance, compute_instance }, "process 7 (python)".to_owned())
    };
    Traces { instances: nodes.iter().map(node).collect(), ..Traces::default() }
}

fn claimed_in(present: &[ListedGpu], traces: &Traces) -> Vec<String> {
    let environment = GpuEnvironment { visible_devices: Some("0".to_owned()), ..GpuEnvironment::default() };
    let mut first = claim(&GpuRequest::Unsaid, &environment, present);
    let sights = ["MIG-10", "MIG-11", "MIG-20"].map(|id| (id, Sight::Others));
    let (devices, findings) = claim_further(&mut first, present, &seen(&sights), traces);
    assert_eq!(devices.len(), findings.len());
    assert!(claim_further(&mut first, present, &seen(&sights), traces).0.is_empty());
    devices.into_iter().map(|device| device.id).collect()
}

#[test]
fn an_open_access_node_claims_its_instance() {
    assert_eq!(claimed_in(&cut(), &accessed(&[(1, 1, None), (1, 1, Some(1))])), ["MIG-11"]);
    assert_eq!(claimed_in(&cut(), &accessed(&[(1, 2, None)])), ["MIG-20"]);
    assert_eq!(claimed_in(&cut(), &accessed(&[(1, 1, None)])), ["MIG-10", "MIG-11"]);
    assert!(claimed_in(&cut(), &accessed(&[(2, 1, None), (0, 1, Some(0))])).contains(&"GPU-cc33".to_owned()));
    assert!(claimed_in(&cut(), &Traces::default()).is_empty());
}

#[test]
fn an_access_node_of_an_instance_that_nobody_listed_claims_the_whole_gpu() {
    assert_eq!(claimed_in(&cut(), &accessed(&[(1, 5, None), (1, 5, Some(0))])), ["GPU-ab22"]);
}
