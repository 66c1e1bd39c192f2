use super::*;
use proptest::prelude::*;

pub(super) fn gpu(index: u32, uuid: &str, name: &str) -> ListedGpu {
    ListedGpu { index, uuid: uuid.to_owned(), minor_number: Some(index), name: name.to_owned(), ..ListedGpu::default() }
}

pub(super) fn four() -> Vec<ListedGpu> {
    vec![
        gpu(0, "GPU-aa11", "NVIDIA H200"),
        gpu(1, "GPU-ab22", "NVIDIA H200"),
        gpu(2, "GPU-cc33", "NVIDIA H200"),
        gpu(3, "GPU-dd44", "NVIDIA H200"),
    ]
}

fn ids(claim: &Claim) -> Vec<&str> {
    claim.devices.iter().map(|device| device.id.as_str()).collect()
}

fn by_environment(visible: &str, present: &[ListedGpu]) -> Claim {
    let environment = GpuEnvironment { visible_devices: Some(visible.to_owned()), ..GpuEnvironment::default() };
    claim(&GpuRequest::Unsaid, &environment, present)
}

#[test]
fn without_a_choice_all_are_the_jobs() {
    let claim = claim(&GpuRequest::Unsaid, &GpuEnvironment::default(), &four());
    assert_eq!(claim.devices.len(), 4);
    assert!(claim.findings.is_empty());
}

#[test]
fn the_variable_is_read_as_cuda_reads_it() {
    for (text, expected) in [
        ("0", &["GPU-aa11"][..]),
        ("2,0", &["GPU-cc33", "GPU-aa11"]),
        ("GPU-ab", &["GPU-ab22"]),
        ("GPU-dd44,1", &["GPU-dd44", "GPU-ab22"]),
        ("1,9,0", &["GPU-ab22"]),
        ("1,-1,0", &["GPU-ab22"]),
        ("1,x,0", &["GPU-ab22"]),
        (" 3 , 2", &["GPU-dd44", "GPU-cc33"]),
        ("", &[]),
        ("-1", &[]),
        ("NoDevFiles", &[]),
        // Two GPUs begin so: CUDA takes neither.
        ("GPU-a", &[]),
        ("gpu-aa11", &[]),
    ] {
        assert_eq!(ids(&by_environment(text, &four())), expected, "{text}");
    }
}

#[test]
fn a_list_that_is_cut_short_is_told_and_an_empty_one_is_not() {
    let told = by_environment("1,9,0", &four()).findings;
    assert_eq!(told[0].code, "gpu-list-cut");
    assert!(told[0].text.contains("`9`") && told[0].text.contains("1 GPU is claimed"), "{}", told[0].text);
    assert!(by_environment("", &four()).findings.is_empty());
    assert!(by_environment("-1", &four()).findings.is_empty());
}

#[test]
fn on_mixed_machines_an_index_claims_all_unless_the_order_is_set() {
    let mut mixed = four();
    mixed[3].name = "NVIDIA L4".to_owned();
    let claimed = by_environment("3", &mixed);
    assert_eq!((claimed.devices.len(), claimed.findings[0].code.as_str()), (4, "gpu-order-ambiguous"));
    assert_eq!(ids(&by_environment("GPU-dd44", &mixed)), ["GPU-dd44"]);
    let environment = GpuEnvironment {
        visible_devices: Some("3".to_owned()),
        device_order: Some("PCI_BUS_ID".to_owned()),
        ..GpuEnvironment::default()
    };
    assert_eq!(ids(&claim(&GpuRequest::Unsaid, &environment, &mixed)), ["GPU-dd44"]);
}

#[test]
fn an_instance_is_a_share_of_its_gpu() {
    let mut cut = four();
    cut[1].instances =
        vec![ListedInstance { uuid: "MIG-77".to_owned(), multiprocessors: Some(16), ..ListedInstance::default() }];
    let claimed = by_environment("MIG-77", &cut);
    assert_eq!(ids(&claimed), ["MIG-77"]);
    let DeviceFacts::Gpu(facts) = &claimed.devices[0].facts else { panic!("a GPU") };
    assert_eq!(facts.mig, Mig::Slice { parent: "GPU-ab22".to_owned(), multiprocessors: Some(16) });
}

#[test]
fn what_the_user_says_comes_first() {
    let environment = GpuEnvironment { visible_devices: Some("0".to_owned()), ..GpuEnvironment::default() };
    let with = |text: &str| claim(&text.parse().unwrap(), &environment, &four());
    assert_eq!(ids(&with("2,GPU-ab22,2")), ["GPU-cc33", "GPU-ab22"]);
    assert_eq!(with("all").devices.len(), 4);
    assert_eq!(ids(&with("none")), Vec::<&str>::new());
    let unknown = with("0,7");
    assert_eq!(ids(&unknown), ["GPU-aa11", "gpu:7"]);
    assert!(matches!(unknown.devices[1].facts, DeviceFacts::Unreadable { .. }));
    assert_eq!(unknown.findings[0].code, "gpu-unknown");
}

#[test]
fn a_request_that_names_nothing_is_refused() {
    for text in ["", "a", "0,,1", "0;1", "-1", "GPU"] {
        assert!(text.parse::<GpuRequest>().is_err(), "{text}");
    }
    assert_eq!(" 0, GPU-1 ".parse(), Ok(GpuRequest::Listed(vec!["0".to_owned(), "GPU-1".to_owned()])));
}

#[test]
fn a_job_without_gpus_needs_no_driver() {
    let environment =
        |text: &str| GpuEnvironment { visible_devices: Some(text.to_owned()), ..GpuEnvironment::default() };
    assert!(!may_use_gpus(&GpuRequest::Unsaid, &environment("")));
    assert!(!may_use_gpus(&GpuRequest::Unsaid, &environment("-1")));
    assert!(!may_use_gpus(&GpuRequest::None, &environment("0")));
    assert!(may_use_gpus(&GpuRequest::Unsaid, &environment("0")));
    assert!(may_use_gpus(&GpuRequest::All, &environment("")));
    assert!(may_use_gpus(&GpuRequest::Unsaid, &GpuEnvironment::default()));
}

fn by_word_of(variables: &[(&str, &str)], present: &[ListedGpu]) -> Claim {
    let value = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    let environment = GpuEnvironment {
        container_devices: value("NVIDIA_VISIBLE_DEVICES"),
        slurm_step_gpus: value("SLURM_STEP_GPUS"),
        slurm_job_gpus: value("SLURM_JOB_GPUS"),
        ..GpuEnvironment::default()
    };
    claim(&GpuRequest::Unsaid, &environment, present)
}

#[test]
fn a_batch_system_or_container_narrows_by_its_word() {
    for (variables, expected) in [
        (&[("SLURM_JOB_GPUS", "1,3")][..], &["GPU-ab22", "GPU-dd44"][..]),
        (&[("SLURM_JOB_GPUS", "0-2")], &["GPU-aa11", "GPU-ab22", "GPU-cc33"]),
        (&[("SLURM_JOB_GPUS", "0-2"), ("SLURM_STEP_GPUS", "2")], &["GPU-cc33"]),
        (&[("NVIDIA_VISIBLE_DEVICES", "GPU-cc33,0")], &["GPU-cc33", "GPU-aa11"]),
        (&[("NVIDIA_VISIBLE_DEVICES", "all"), ("SLURM_JOB_GPUS", "1")], &["GPU-ab22"]),
        (&[("NVIDIA_VISIBLE_DEVICES", "0"), ("SLURM_JOB_GPUS", "1")], &["GPU-ab22", "GPU-aa11"]),
    ] {
        let claim = by_word_of(variables, &four());
        assert_eq!((ids(&claim).as_slice(), claim.basis), (expected, Basis::Word), "{variables:?}");
        assert!(claim.findings.is_empty());
    }
}

#[test]
fn words_that_name_nothing_here_claim_all() {
    for text in ["all", "none", "void", ""] {
        let claim = by_word_of(&[("NVIDIA_VISIBLE_DEVICES", text)], &four());
        assert_eq!((claim.devices.len(), claim.basis), (4, Basis::All), "{text}");
        assert!(claim.findings.is_empty(), "with CDI the variable is `void` and the GPUs are there all the same");
    }
    for text in ["0,7", "GPU-zz", "0-9", "3-1", "MIG-1", "0:3", "x"] {
        let claim = by_word_of(&[("NVIDIA_VISIBLE_DEVICES", text)], &four());
        assert_eq!((claim.devices.len(), claim.findings[0].code.as_str()), (4, "gpu-list-unmatched"), "{text}");
    }
}

/// Inside a container the driver numbers from 0 on, and nodes keep the host's numbers.
#[test]
fn a_number_may_be_an_index_or_a_node_and_both_are_claimed() {
    let mut hidden =
        vec![gpu(0, "GPU-aa", "NVIDIA H200"), gpu(1, "GPU-bb", "NVIDIA H200"), gpu(2, "GPU-cc", "NVIDIA H200")];
    (hidden[0].minor_number, hidden[1].minor_number, hidden[2].minor_number) = (Some(4), Some(5), Some(1));
    assert_eq!(ids(&by_word_of(&[("SLURM_JOB_GPUS", "4,5")], &hidden)), ["GPU-aa", "GPU-bb"]);
    assert_eq!(ids(&by_word_of(&[("SLURM_JOB_GPUS", "1")], &hidden)), ["GPU-bb", "GPU-cc"]);
}

/// The driver counts GPUs that may not be opened and gives them no handle; CUDA does not number them.
#[test]
fn cuda_numbers_only_what_can_be_opened() {
    let seen = vec![gpu(2, "GPU-cc", "NVIDIA H200"), gpu(3, "GPU-dd", "NVIDIA H200")];
    assert_eq!(ids(&by_environment("0", &seen)), ["GPU-cc"]);
    assert_eq!(ids(&by_environment("2", &seen)), Vec::<&str>::new());
}

proptest! {
    #[test]
    fn any_text_claims_each_gpu_once_at_most(text in ".{0,40}") {
        let mut seen = ids(&by_environment(&text, &four())).into_iter().map(str::to_owned).collect::<Vec<_>>();
        seen.sort();
        seen.dedup();
        prop_assert_eq!(seen.len(), by_environment(&text, &four()).devices.len());
    }
}

#[test]
fn a_control_group_that_lets_into_some_instances_chooses_those() {
    let instance = |uuid: &str, granted| ListedInstance {
        uuid: uuid.to_owned(),
        multiprocessors: Some(16),
        granted,
        ..ListedInstance::default()
    };
    let by_group = |granted: [Option<bool>; 2]| {
        let mut cut = vec![gpu(0, "GPU-aa11", "NVIDIA H200")];
        cut[0].instances = vec![instance("MIG-a", granted[0]), instance("MIG-b", granted[1])];
        claim(&GpuRequest::Unsaid, &GpuEnvironment::default(), &cut)
    };
    let some = by_group([Some(false), Some(true)]);
    assert_eq!((ids(&some), some.basis), (vec!["MIG-b"], Basis::Word));
    for untold in [[None, Some(true)], [None, None], [Some(false), Some(false)]] {
        assert_eq!(ids(&by_group(untold)), ["GPU-aa11"], "{untold:?}");
    }
}
