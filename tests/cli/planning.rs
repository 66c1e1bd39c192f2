//! `plan` from end to end: length files, head-room, named GPUs, comparison, uncertainty and the gate.

mod told;

use serde_json::{Value, json};

use crate::job::{flop, tiny_config, write_base};
use crate::place::{Outcome, Place, finish_with_input};

const DAY: &str = "--as-of 2026-11-21";

/// A place with the small model and a base of 3 · 10^12 operations, whose line is 10^12.
fn place() -> Place {
    let place = Place::new();
    place.write_json("config.json", &tiny_config());
    write_base(&place, "base", 3_000_000_000_000);
    place
}

fn plan(place: &Place, options: &str) -> Outcome {
    place.flopsmeter(&format!("plan --config config.json --base base.toml {DAY} {options}"))
}

fn json_of(place: &Place, options: &str) -> Value {
    plan(place, &format!("--json {options}")).json()
}

/// Model operations of one micro-batch.
fn pass(place: &Place, sequences: u64, length: u64) -> u128 {
    flop(&json_of(place, &format!("--sequences {sequences} --seq-len {length}"))["flops"]["training"])
}

fn reason<'a>(plan: &'a Value, code: &str) -> &'a Value {
    let mut reasons = plan["uncertainty"].as_array().unwrap().iter();
    reasons.find(|reason| reason["code"] == code).unwrap_or_else(|| panic!("no {code} in {}", plan["uncertainty"]))
}

#[test]
fn the_whole_answer_reads_so() {
    let place = place();
    write_base(&place, "base", 3_000_000_000_000_000);
    let answer = plan(&place, "--seq-len 64 --sequences 2 --tokens 1e9 --gpu 2xL4 --utilisation 30% --compare");
    insta::assert_snapshot!(answer.data(), @r"
    job        1000000000 tokens: 7812500 micro-batches of 2 x 64 positions in 1 epoch
    method     full: 115008 of 115008 parameters trained
    FLOP                           forward         backward  recompute
    attention-projections   49152000000000   98304000000000          0
    attention-scores        32768000000000   65536000000000          0
    mlp                     98304000000000  196608000000000          0
    output-head             40960000000000   81920000000000          0
    sum                    221184000000000  442368000000000          0
    training   663552000000000 (forward + backward; attention full)
    range      4.44e14 FLOP to 6.64e14 FLOP
               attention-convention (down to 6.15e14): the whole score matrix is counted, as eager and sdpa compute it; other kernels skip what the mask hides
               sequence-lengths (down to 5.67e14): each sequence is taken as long as --seq-len, without padding; --lengths counts them as they are
               output-head (down to 5.41e14): counted at every position; a trainer may leave out those without a label, as trl does on a GPU
               at the low end the verdict is below
    verdict    near the line at 66.36 % of it: inside the permitted margin of estimation
    status     open: compute alone does not decide it
    line       1.00e15 FLOP: a third of the base model's training compute
               Guidelines C(2025) 7719 final, paragraph 60 (63 as printed in C(2025) 5045)
    spent      6.64e14 FLOP
    ratio      0.221184 of the base model's compute
    rules      eu-gpai-2026-07-27 as of 2026-11-21
    questions  acts-for-original-provider, non-professional-or-research, placed-on-union-market, changed-significantly: `flopsmeter modifications answer` records answers
    head-room  near from 5.38e14 FLOP, after 8.11e8 tokens of such a job; nothing left
               exceeds from 1.00e15 FLOP, after 1.51e9 tokens of such a job; 3.36e14 FLOP and 5.07e8 tokens left
    expected   2 x L4: about 9.1 s, about 1300 J at the boards' rated power (30 % of 1.21e14 FLOP/s each; hosts, network and cooling not included)
    method       asked for              checkpointing  trained  training  executed  % of line  verdict  tokens until exceeds
    full                                none            115008   6.64e14   6.64e14      66.36  near                   1.51e9
    full                                non-reentrant   115008   6.64e14   8.11e14      66.36  near                   1.51e9
    lora         rank 16 on all-linear  none             32768   6.49e14   6.49e14      64.92  near                   1.54e9
    lora         rank 16 on all-linear  non-reentrant    32768   6.72e14   9.13e14      67.17  near                   1.49e9
    qlora        rank 16 on all-linear  none             32768   6.49e14   6.49e14      64.92  near                   1.54e9
    qlora        rank 16 on all-linear  non-reentrant    32768   6.72e14   9.13e14      67.17  near                   1.49e9
    dora         rank 16 on all-linear  none             33792   6.88e14   6.88e14      68.81  near                   1.45e9
    dora         rank 16 on all-linear  non-reentrant    33792   7.11e14   9.95e14      71.07  near                   1.41e9
    last-layers  2 blocks               none             73984   6.23e14   6.23e14      62.26  near                   1.61e9
    last-layers  2 blocks               non-reentrant    73984   6.23e14   7.70e14      62.26  near                   1.61e9
    head-only                           none             20480   2.62e14   2.62e14      26.21  below                  3.81e9
    head-only                           non-reentrant    20480   5.16e14   6.64e14      51.61  below                  1.94e9
    ");
}

#[test]
fn lengths_are_counted_one_by_one() {
    let place = place();
    place.write("lengths.txt", "3\n9\n5\t2\n17\n");
    let of = |options: &str| json_of(&place, &format!("--lengths lengths.txt {options}"));
    let each = |lengths: &[(u64, u64)]| lengths.iter().map(|&(rows, length)| pass(&place, rows, length)).sum::<u128>();
    // 3 9 | 5 5 | 17, each padded to its longest.
    let padded = of("--sequences 2");
    assert_eq!(flop(&padded["flops"]["training"]), each(&[(2, 9), (2, 5), (1, 17)]));
    assert_eq!(padded["tokens"], "45");
    assert_eq!(
        padded["job"]["lengths"],
        json!({
            "file": "lengths.txt", "batching": "padded", "sequences": 5, "shortest": 3, "longest": 17, "cut": 0,
            "tokens": "39",
        })
    );
    let order = reason(&padded, "padding-order");
    assert_eq!(flop(&order["training_low"]), each(&[(1, 3), (1, 9), (2, 5), (1, 17)]));
    assert_eq!(flop(&order["training_high"]), each(&[(2, 17), (2, 9), (1, 5)]));
    // One stream of 39 positions: rows of ten, the last one counted whole.
    let packed = of("--batching packed --seq-len 10 --sequences 3");
    assert_eq!(flop(&packed["flops"]["training"]), each(&[(3, 10), (1, 10)]));
    assert_eq!(packed["tokens"], "40");
    let free = of("--batching padding-free --sequences 5 --epochs 2");
    assert_eq!(flop(&free["flops"]["training"]), 2 * each(&[(1, 3), (1, 9), (2, 5), (1, 17)]));
    assert_eq!(flop(&reason(&free, "attention-over-rows")["training_high"]), 2 * each(&[(1, 39)]));
    let cut = of("--seq-len 8");
    assert_eq!(flop(&cut["flops"]["training"]), each(&[(1, 3), (1, 8), (2, 5), (1, 8)]));
    assert_eq!(cut["job"]["lengths"]["cut"], 2);
}

#[test]
fn lengths_and_configuration_may_come_from_standard_input() {
    let place = place();
    let from_file = json_of(&place, "--seq-len 32");
    let command = place.command("plan --json --config - --seq-len 32".split(' '));
    let piped = finish_with_input(command, &tiny_config().to_string()).json();
    assert_eq!(piped["flops"], from_file["flops"]);
    let command = place.command("plan --json --config config.json --lengths -".split(' '));
    let lengths = finish_with_input(command, "{\"length\": 32}\n").json();
    assert_eq!(lengths["flops"]["training"], from_file["flops"]["training"]);
}

#[test]
fn a_configuration_may_hold_the_infinities_that_python_writes() {
    let place = place();
    let text = tiny_config().to_string();
    place
        .write("infinite.json", format!("{}, \"time_step_limit\": [0.0, Infinity]}}", text.strip_suffix('}').unwrap()));
    let plan = place.flopsmeter("plan --json --config infinite.json --seq-len 32").json();
    assert_eq!(plan["flops"]["training"], json_of(&place, "--seq-len 32")["flops"]["training"]);
}

#[test]
fn a_folder_that_names_the_base_gives_the_shape_too() {
    let place = place();
    fs_err::create_dir(place.path("llama")).unwrap();
    let mut config = tiny_config();
    config["_name_or_path"] = json!("meta-llama/Llama-3.1-8B");
    place.write_json("llama/config.json", &config);
    let plan = place.flopsmeter(&format!("plan --json --base llama --seq-len 32 {DAY}")).json();
    assert_eq!(plan["basis"], "operations");
    assert_eq!(plan["flops"]["training"], json_of(&place, "--seq-len 32")["flops"]["training"]);
    assert_eq!(plan["assessment"]["inputs"]["base_model"]["name"], "meta-llama/Llama-3.1-8B");
}

#[test]
fn head_room_is_met_to_the_last_operation_and_micro_batch() {
    let place = place();
    let options = "--seq-len 32 --sequences 2 --tokens 6400";
    let plan = json_of(&place, options);
    let each = pass(&place, 2, 32);
    let spent = flop(&plan["flops"]["training"]);
    // Near from 7/39 of the base's compute on, over the line strictly above a third of it.
    for (name, edge) in [("near", (3_000_000_000_000_u128 * 7).div_ceil(39)), ("exceeds", 1_000_000_000_001)] {
        let until = &plan["headroom"][name];
        assert_eq!(until["verdict"], name);
        assert_eq!(flop(&until["flop"]), edge, "{name}");
        assert_eq!(flop(&until["flop_left"]), edge - spent, "{name}");
        let micro_batches = edge.div_ceil(each);
        assert_eq!(flop(&until["micro_batches"]), micro_batches, "{name}");
        assert_eq!(flop(&until["tokens"]), micro_batches * 64, "{name}");
        assert_eq!(flop(&until["tokens_left"]), micro_batches * 64 - 6400, "{name}");
        // A job of one micro-batch less has the verdict before, one of as many has it.
        let verdict = |count: u128| {
            let tokens = count * 64;
            json_of(&place, &format!("--seq-len 32 --sequences 2 --tokens {tokens}"))["assessment"]["verdict"].clone()
        };
        assert_ne!(verdict(micro_batches - 1), name);
        assert_eq!(verdict(micro_batches), name);
    }
    let none = place.flopsmeter(&format!("plan --json --config config.json {options}")).json();
    assert_eq!(none["headroom"], json!({ "near": null, "exceeds": null }));
}

#[test]
fn gpus_tell_time_and_energy_of_what_is_executed() {
    let place = place();
    let options = "--seq-len 32 --tokens 1e9 --gradient-checkpointing reentrant --gpu 8xH100-SXM --gpu l4";
    let plan = json_of(&place, &format!("{options} --utilisation 0.5"));
    let executed = flop(&plan["flops"]["executed"]);
    assert!(executed > flop(&plan["flops"]["training"]));
    let [fleet, single] = plan["expected"].as_array().unwrap().as_slice() else { panic!("{}", plan["expected"]) };
    let milliseconds = (executed * 1000 + 1_978_800_000_000_000) / 3_957_600_000_000_000;
    assert_eq!(fleet["seconds"], format!("{}.{:03}", milliseconds / 1000, milliseconds % 1000));
    assert_eq!(flop(&fleet["executed"]), executed);
    let joules = (executed * 700 + 247_350_000_000_000) / 494_700_000_000_000;
    assert_eq!(flop(&fleet["board_energy_joules"]), joules);
    assert_eq!((&fleet["gpu"], &fleet["count"]), (&json!("H100 SXM5"), &json!(8)));
    assert_eq!((&single["gpu"], &single["board_power_watts"]), (&json!("L4"), &json!("72.000")));
    assert_eq!(fleet["utilisation_percent"], "50");
    assert!(json_of(&place, options)["defaults"].to_string().contains("arXiv:2407.21783"), "a default says its source");
}

#[test]
fn methods_stand_side_by_side() {
    let place = place();
    let plan = json_of(&place, "--seq-len 32 --tokens 3200 --compare --train-last 1 --lora-r 4");
    let rows = plan["comparison"].as_array().unwrap();
    assert_eq!(rows.len(), 12);
    for row in rows {
        let method = row["method"].as_str().unwrap();
        let extra = match method {
            "last-layers" => " --train-last 1",
            "lora" | "qlora" | "dora" => " --lora-r 4",
            _ => "",
        };
        let checkpointing = row["gradient_checkpointing"].as_str();
        let checkpointing = checkpointing.map_or(String::new(), |kind| format!(" --gradient-checkpointing {kind}"));
        let alone = json_of(&place, &format!("--seq-len 32 --tokens 3200 --method {method}{extra}{checkpointing}"));
        assert_eq!(row["training"], alone["flops"]["training"], "{row}");
        assert_eq!(row["executed"], alone["flops"]["executed"], "{row}");
        assert_eq!(row["trainable"], alone["params"]["trainable"], "{row}");
        assert_eq!(row["tokens_until_exceeds"], alone["headroom"]["exceeds"]["tokens"], "{row}");
        assert_eq!(row["share_of_line_percent"], alone["assessment"]["share_of_line_percent"], "{row}");
    }
}

#[test]
fn a_higher_count_of_the_same_job_raises_below_to_near() {
    let place = place();
    let tokens = 384 * 1300;
    let visible = json_of(&place, &format!("--seq-len 384 --tokens {tokens} --attention visible"));
    let full = json_of(&place, &format!("--seq-len 384 --tokens {tokens}"));
    assert_eq!(visible["flops"]["training_high"], full["flops"]["training"]);
    let (low, high) = (flop(&visible["flops"]["training"]), flop(&full["flops"]["training"]));
    let near = flop(&full["headroom"]["near"]["flop"]);
    assert!(low < near && near <= high, "{low} < {near} <= {high}: choose other tokens");
    assert_eq!(visible["verdicts"], json!({ "low": "below", "high": "near" }));
    assert_eq!(visible["assessment"]["verdict"], "near");
    let codes: Vec<&str> =
        visible["assessment"]["findings"].as_array().unwrap().iter().filter_map(|it| it["code"].as_str()).collect();
    assert!(codes.contains(&"readings-disagree"), "{codes:?}");
    assert_eq!(full["assessment"]["verdict"], "near");
    assert_eq!(full["verdicts"]["low"], "below", "a low count never lowers the verdict");
}

#[test]
fn a_range_without_a_shape_is_the_error_that_the_law_permits() {
    let place = place();
    let plan = place
        .flopsmeter(&format!("plan --json --base meta-llama/Llama-3.1-8B --tokens 1e9 --seq-len 1000 {DAY}"))
        .json();
    let six = flop(&plan["flops"]["training"]);
    assert_eq!(flop(&plan["flops"]["training_low"]), six - six * 3 / 10);
    assert_eq!(flop(&plan["flops"]["training_high"]), six + six * 3 / 10);
    let exceeds = &plan["headroom"]["exceeds"];
    assert_eq!(flop(&exceeds["tokens"]), flop(&exceeds["flop"]).div_ceil(six / 1_000_000_000));
    assert_eq!(exceeds["micro_batches"], Value::Null);
}

#[test]
fn a_gate_ends_with_the_code_of_the_verdict() {
    let place = place();
    let near = "--seq-len 32 --sequences 2 --tokens 1e6";
    assert_eq!(json_of(&place, near)["assessment"]["verdict"], "near");
    for (options, code) in [
        ("--seq-len 32 --gate near".to_owned(), 0),
        (format!("{near} --gate exceeds"), 0),
        (format!("{near} --gate near"), 10),
        (format!("{near} --gate exceeds --epochs 9"), 11),
        (format!("{near} --gate near,undetermined --epochs 9"), 11),
    ] {
        let outcome = plan(&place, &options);
        assert_eq!(outcome.code(), Some(code), "{options}: {outcome:?}");
        assert!(outcome.stdout.contains("\nverdict "), "the answer is given all the same");
        assert_eq!(outcome.stderr.is_empty(), code == 0, "{}", outcome.stderr);
    }
    let without_base = |gate: &str| place.flopsmeter(&format!("plan --config config.json --gate {gate}")).code();
    assert_eq!(without_base("exceeds"), Some(0));
    assert_eq!(without_base("exceeds,undetermined"), Some(12));
}

#[test]
fn a_target_that_nothing_has_is_told_beside_those_that_fit() {
    let place = place();
    let answer = plan(&place, "--method lora --lora-targets q_proj,nothing_like_it --seq-len 32");
    assert!(
        answer.data().contains("no module of this model is named nothing_like_it: correct the targets"),
        "{}",
        answer.stdout
    );
    let one = json_of(&place, "--method lora --lora-targets q_proj --seq-len 32");
    let both = json_of(&place, "--method lora --lora-targets q_proj,nothing_like_it --seq-len 32");
    assert_eq!(both["unmatched_targets"], json!(["nothing_like_it"]));
    assert_eq!((&one["flops"], &one["unmatched_targets"]), (&both["flops"], &json!([])));
}

#[test]
fn bad_words_are_refused_by_name() {
    let place = place();
    place.write("bad.txt", "512\n-3\n");
    for (options, code, said) in [
        ("--gpu H2000", 2, "--gpu H2000: the GPU table has no `H2000`; it may be "),
        (
            "--gpu nosuch",
            2,
            "--gpu nosuch: the GPU table has no `nosuch`, nor a name like it; its names begin with A10, ",
        ),
        ("--gpu 0xL4", 2, "--gpu 0xL4: `0xL4` names no GPU; "),
        ("--gpu L4 --utilisation 40", 2, "invalid value '40' for '--utilisation <SHARE>': `40` is no share of a peak"),
        ("--utilisation 40%", 2, "the following required arguments were not provided:"),
        ("--lengths bad.txt", 1, "bad.txt is no length file"),
        ("--lengths nope.txt", 1, "nope.txt cannot be read; name a file with the length of one sequence on each line"),
        ("--lengths bad.txt --tokens 5", 2, "the argument '--lengths <FILE>' cannot be used with '--tokens <N>'"),
        ("--batching packed", 2, "the following required arguments were not provided:"),
        (
            "--images 1 --image-grid 1,2",
            2,
            "invalid value '1,2' for '--image-grid <T,H,W>': `1,2` is no grid of patches",
        ),
        ("--image-grid 1,2,2", 2, "the following required arguments were not provided:"),
        ("--decoder-len 0", 2, "--decoder-len 0 trains on nothing"),
        ("--gate sometimes", 2, "invalid value 'sometimes' for '--gate <near|exceeds[,undetermined]>': a gate is "),
        ("--method lora --lora-rank-pattern q_proj", 2, "invalid value 'q_proj' for '--lora-rank-pattern"),
        ("--virtual-tokens 5", 2, "--virtual-tokens belongs to --method prompt or prefix"),
        ("--method lora --lora-targets re:( ", 1, "target pattern `(` is no regular expression"),
    ] {
        let outcome = plan(&place, options);
        let message = outcome.refusal(code).strip_prefix("error: ").unwrap();
        assert!(message.starts_with(said), "{options}: {message}");
    }
    let twice = place.flopsmeter("plan --config - --lengths -");
    assert!(twice.refusal(2).contains("--config and --lengths cannot both be standard input"));
    let named = plan(&place, "--lengths bad.txt");
    assert!(named.stderr.contains("because: line 2: `-3` is no whole number of positions"), "{}", named.stderr);
    let compare = place.flopsmeter("plan --base meta-llama/Llama-3.1-8B --compare");
    assert!(compare.refusal(2).contains("--compare counts products"));
}

#[test]
fn the_chosen_method_is_among_those_compared() {
    let place = place();
    for method in ["prompt", "prefix"] {
        let plan = json_of(&place, &format!("--seq-len 32 --compare --method {method} --virtual-tokens 5"));
        let rows = plan["comparison"].as_array().unwrap();
        assert_eq!(rows.len(), 14);
        let own: Vec<_> = rows.iter().filter(|row| row["method"] == method).collect();
        assert_eq!(own.len(), 2);
        assert_eq!(own[0]["training"], plan["flops"]["training"]);
        assert_eq!(own[0]["details"], "5 virtual tokens");
    }
}

/// Runs the real command on a terminal so wide and prints what it wrote.
const ON_TERMINAL: &str = r"
import fcntl, os, pty, struct, sys, termios
child, terminal = pty.fork()
if child == 0:
    fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack('HHHH', 40, int(sys.argv[1]), 0, 0))
    os.execv(sys.argv[2], sys.argv[2:])
written = b''
try:
    while more := os.read(terminal, 65536):
        written += more
except OSError:
    pass
sys.stdout.buffer.write(written.replace(b'\r\n', b'\n'))
";

#[test]
fn no_line_is_wider_than_the_terminal() {
    let place = place();
    let options = "--seq-len 4096 --tokens 2e16 --gpu 2xL4 --compare --method prompt";
    let line = format!("plan --config config.json --base base.toml {DAY} {options}");
    for width in [80, 100] {
        let mut command = place.within("python3", ["-c", ON_TERMINAL]);
        command.arg(width.to_string()).arg(env!("CARGO_BIN_EXE_flopsmeter")).args(line.split(' '));
        let output = command.output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains("\nverdict ") && text.contains("\ndefaults "), "{text}");
        for line in text.lines() {
            assert!(line.chars().count() <= width, "{width}: {line}\n{text}");
        }
        let plain = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>().join(" ");
        let piped = plan(&place, options);
        let questions = piped.data().lines().find(|line| line.starts_with("questions")).unwrap();
        assert!(plain(&text).contains(&plain(questions)), "nothing of the prose is lost: {text}");
    }
}
