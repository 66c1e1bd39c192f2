"""Writes the fixtures of this folder: small random models of every family, and what PyTorch's counter counts on them.

Run with torch, transformers and peft installed:  python trace.py dense experts …
One file per group; `--again GROUP NAME…` traces some cases of it anew.
`python trace.py --products NAME` prints every product of one case in order instead.
Nothing is downloaded. Attention is eager (the fused CPU kernel repeats a product in its backward pass) and experts are
`batched_mm` or a plain loop (grouped products count as zero): both compute what the routing asks for, no more.
"""

import importlib
import json
import pathlib
import sys
import warnings

import peft
import torch
import transformers

import counting
import methods
import models

HERE = pathlib.Path(__file__).parent
NOTE = (
    "FLOP of one forward and backward pass counted by torch FlopCounterMode; 1 multiply-add = 2 FLOP; full attention "
    "matrix; weight gradient of grouped convolutions put right; backward without recompute. config: config.json of "
    "the traced class. parameters: [name, shape, tied to]. trained and adapted: one mark per parameter. method, n "
    "(last blocks or virtual tokens), r, targets, modules_to_save, frozen, gradient_checkpointing as in `plan`; "
    "checkpointing was switched on by transformers, with the input gradients that brings. "
    "seq_len: tokens per sequence, image tokens among them, virtual tokens not."
)


def prepared(case, row):
    model = models.build(case)
    wrapped = methods.apply(case, model, row)
    base = wrapped.get_base_model() if wrapped is not model else model
    how = row["gradient_checkpointing"]
    if how:
        base.gradient_checkpointing_enable({"use_reentrant": how == "reentrant"})
    if row.get("input_require_grads"):
        base.enable_input_require_grads()
    wrapped.train()
    return wrapped, base


def runner(case, wrapped, base, size):
    torch.manual_seed(1)
    batch = case.inputs(base.config, size)
    return lambda: (case.loss or (lambda output: output.loss))(wrapped(**batch))


def trace(case, row, names):
    size = case.sizes[row["size"]]
    wrapped, base = prepared(case, row)
    reentrant = row["gradient_checkpointing"] == "reentrant"
    run = runner(case, wrapped, base, size)
    forward, backward, recompute = counting.count(run, base, reentrant)
    out = {"config": case.name, **{key: value for key, value in row.items() if key not in ("size", "seed")}, **size}
    if row["method"] == "random":
        out["trained"] = methods.marks(names, {name for name, it in base.named_parameters() if it.requires_grad})
    if row["method"] == "lora" and row["targets"] != case.targets:
        out["adapted"] = methods.marks(names, methods.adapted(base))
    own = list(wrapped.parameters())
    out["parameters_total"] = sum(it.numel() for it in own)
    out["trainable"] = sum(it.numel() for it in own if it.requires_grad)
    out |= {"forward": forward, "backward": backward, "recompute": recompute}
    return out


def head_of(case, model):
    """What a file says of a case beside its rows."""
    listed = models.parameters(model)
    head = {
        "config": models.disk_config(case),
        "blocks": models.blocks_name(case, model),
        "embeddings": models.embeddings_name(case, model),
        "head": models.head_name(case, model),
        "parameters": listed,
    }
    if case.note:
        head["note"] = case.note
    hidden = counting.uncounted(runner(case, model, model, case.sizes[0]))
    if hidden:
        head["uncounted"] = hidden
    return head


def trace_case(case):
    model = models.build(case)
    head = head_of(case, models.build(case))
    names = [name for name, _, _ in head["parameters"]]
    rows, refused = [], []
    for row in methods.asked(case, model):
        try:
            rows.append(trace(case, row, names))
        except Exception as problem:  # what fails is listed with its reason, whatever it is
            reason = f"{type(problem).__name__}: {str(problem).strip().splitlines()[0][:200] if str(problem).strip() else ''}"
            refused.append({"config": case.name, **{k: v for k, v in row.items() if k != "size"}, "reason": reason})
    return head, rows, refused


def lines(items):
    return ",\n".join(json.dumps(item, separators=(",", ":")) for item in items)


def written(group):
    """What the file of a group holds, by case."""
    path = HERE / f"{group}.json"
    held = json.loads(path.read_text()) if path.exists() else {"configs": {}, "rows": [], "not_traced": []}
    names = {*held["configs"], *(row["config"] for row in held["not_traced"])}
    return {
        name: (
            held["configs"].get(name),
            [row for row in held["rows"] if row["config"] == name],
            [row for row in held["not_traced"] if row["config"] == name],
        )
        for name in names
    }


def told(name, head, rows, refused):
    """One line on what became of a case, and the reasons of what did not."""
    facts = {key: head[key] for key in ("blocks", "embeddings", "head")} if head else "not built"
    hidden = f", uncounted {head['uncounted']}" if head and "uncounted" in head else ""
    print(f"{name}: {len(rows)} rows, {len(refused)} refused, {facts}{hidden}", file=sys.stderr, flush=True)
    for reason in sorted({f"{it.get('method')} {it.get('targets')}: {it['reason']}" for it in refused}):
        print(f"    {reason}", file=sys.stderr)


def store(group, cases, done):
    """The group's file, in the order of its cases; written after each, so that a long run can be stopped."""
    heads = {case.name: done[case.name][0] for case in cases if done[case.name][0]}
    rows = [row for case in cases for row in done[case.name][1]]
    refused = [row for case in cases for row in done[case.name][2]]
    versions = {module.__name__: module.__version__.split("+")[0] for module in (torch, transformers, peft)}
    text = f'{{"note":{json.dumps(NOTE)},\n"versions":{json.dumps(versions)},\n"configs":{{\n'
    text += ",\n".join(f"{json.dumps(name)}:{json.dumps(head, separators=(',', ':'))}" for name, head in heads.items())
    text += f'}},\n"rows":[\n{lines(rows)}],\n"not_traced":[\n{lines(refused)}]}}\n'
    (HERE / f"{group}.json").write_text(text)


def write(group, only=None):
    """All cases of a group, or those named anew beside what the file holds."""
    done = written(group) if only else {}
    cases = importlib.import_module(f"groups.{group}").CASES
    for case in cases:
        if not only or case.name in only or case.name not in done:
            try:
                done[case.name] = trace_case(case)
            except Exception as problem:  # a model that cannot be built is listed, and the rest goes on
                reason = f"{type(problem).__name__}: {str(problem)[:300]}"
                done[case.name] = None, [], [{"config": case.name, "reason": reason}]
            told(case.name, *done[case.name])
            store(group, [case for case in cases if case.name in done], done)


def print_products(name):
    for group in sorted(path.stem for path in (HERE / "groups").glob("[a-z]*.py")):
        for case in importlib.import_module(f"groups.{group}").CASES:
            if case.name == name:
                row = {"method": "full", "gradient_checkpointing": None}
                wrapped, base = prepared(case, row)
                print("\n".join(counting.products(runner(case, wrapped, base, case.sizes[0]))))


def main(arguments):
    warnings.filterwarnings("ignore")
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(1)
    sys.path.insert(0, str(HERE))
    if arguments[:1] == ["--products"]:
        return print_products(arguments[1])
    if arguments[:1] == ["--again"]:
        return write(arguments[1], arguments[2:])
    for group in arguments:
        write(group)


if __name__ == "__main__":
    main(sys.argv[1:])
