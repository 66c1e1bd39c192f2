"""Live random models of every traced family: the count of the live model equals PyTorch's own operation counter.

The models are those of `core/tests/families`, built here and now, with real routing of experts.
"""

from __future__ import annotations

import importlib
import json
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from flopsmeter import _facts, _flopsmeter

FAMILIES = Path(__file__).parents[2] / "core" / "tests" / "families"
GROUPS = ("dense", "experts", "state_space", "encoders", "vision")


def load() -> tuple[Any, ...]:
    """The modules that trace the families; `models` and `trace` are names of others too, so they are loaded apart."""
    names = ("counting", "methods", "models", "trace", *(f"groups.{group}" for group in GROUPS))
    others = {name: sys.modules.pop(name) for name in names if name in sys.modules}
    sys.path.insert(0, str(FAMILIES))
    try:
        return tuple(importlib.import_module(name) for name in names)
    finally:
        sys.path.remove(str(FAMILIES))
        sys.modules.update(others)


counting, _, models, tracing, *groups = load()
ROWS: list[dict[str, Any]] = [
    {"method": "full", "gradient_checkpointing": "non-reentrant", "size": 0},
    {"method": "random", "gradient_checkpointing": None, "size": 1, "seed": 2},
    {"method": "lora", "gradient_checkpointing": None, "size": 0, "r": 2, "targets": "all-linear"},
    {"method": "lora", "gradient_checkpointing": "non-reentrant", "size": 1, "r": 2, "targets": "all-linear"},
]


def cases() -> dict[str, Any]:
    found = {}
    for name, group in zip(GROUPS, groups, strict=True):
        traced = json.loads((FAMILIES / f"{name}.json").read_text())["configs"]
        found |= {case.name: case for case in group.CASES if case.name in traced}
    return found


CASES = cases()
# Its stages and layers are checkpointed within each other, which nobody has described: it is refused, never guessed.


def test_what_is_not_described_is_refused_by_name() -> None:
    case = CASES["llama"]
    _, facts, _ = step(case, ROWS[0])
    message = json.loads(facts.to_json())
    text = json.dumps(message).replace('"model_type": "llama"', '"model_type": "swinv2"')
    assert text != json.dumps(message)
    with pytest.raises(ValueError, match="`swinv2` is not known"):
        _flopsmeter.count(text, json.dumps(passes(case.sizes[0])))


def passes(size: dict[str, Any]) -> list[dict[str, Any]]:
    row = {"phase": "training", "gradient": True, "sequences": size["sequences"], "length": size.get("seq_len", 1)}
    row |= {"count": 1, "real_tokens": None, "decoder_length": size.get("dec_len", 0)}
    images = size.get("images", 0) * size.get("tiles", 1) * size["sequences"]
    if images:
        row["images"] = images
    if "image_grid" in size:
        row["image_grid"] = [{"count": images, "grid": size["image_grid"]}]
    return [row]


class Unrunnable(Exception):
    """The job itself fails, whoever counts it: peft wraps a router that returns a tuple, for example."""


def step(case: Any, row: dict[str, Any]) -> tuple[Any, Any, tuple[int, ...]]:
    """One training step of the live model: the model, its facts, what the counter counted."""
    try:
        wrapped, base = tracing.prepared(case, row)
        facts = _facts.read(wrapped, 0)  # first: the counter puts a function of its own in place of the checkpoint's
        reentrant = row["gradient_checkpointing"] == "reentrant"
        run = tracing.runner(case, wrapped, base, case.sizes[row["size"]])
        return wrapped, facts, counting.count(run, base, reentrant)
    except Exception as problem:
        raise Unrunnable(str(problem)) from problem


def differences(case: Any, row: dict[str, Any]) -> list[str]:
    """What the counter and the count do not agree on."""
    size = case.sizes[row["size"]]
    wrapped, facts, traced = step(case, row)
    counted = json.loads(_flopsmeter.count(facts.to_json(), json.dumps(passes(size))))
    ours = tuple(int(counted[key]) for key in ("forward", "backward", "recompute"))
    found = [] if ours == traced else [f"counter {traced}, count {ours}"]
    parameters = list(wrapped.parameters())
    trained = sum(it.numel() for it in parameters if it.requires_grad)
    if counted["parameters_trainable"] != trained:
        found.append(f"{trained} trained, counted {counted['parameters_trainable']}")
    return found + [finding["text"] for finding in counted["findings"]]


@pytest.mark.parametrize("name", CASES)
def test_difference_is_zero(name: str) -> None:
    case = CASES[name]
    torch.set_num_threads(1)
    refused, problems = [], []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for row in ROWS:
            if row["size"] >= len(case.sizes) or row["method"] in case.leave_out:
                continue
            if row["gradient_checkpointing"] and "checkpointing" in case.leave_out:
                continue
            try:
                problems += [f"{row}: {it}" for it in differences(case, row)]
            except Unrunnable as problem:
                refused.append(f"{row}: {problem}")
    assert not problems, "\n".join(problems)
    assert len(refused) < len(ROWS), refused


def test_thinned_checkpointing_recomputes_what_it_says() -> None:
    case = CASES["llama"]
    model = models.build(case)
    model.gradient_checkpointing_enable(every_n_layers=2)
    assert_equal(case, model)


def test_dora_behind_a_dropout_multiplies_once_more() -> None:
    import peft

    case = CASES["llama"]
    settings = peft.LoraConfig(r=3, target_modules=["q_proj", "down_proj"], use_dora=True, lora_dropout=0.2)
    assert_equal(case, peft.get_peft_model(models.build(case), settings))


def assert_equal(case: Any, model: Any) -> None:
    facts = _facts.read(model, 0)
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    traced = counting.count(tracing.runner(case, model.train(), base, case.sizes[0]), base, False)
    counted = json.loads(_flopsmeter.count(facts.to_json(), json.dumps(passes(case.sizes[0]))))
    assert tuple(int(counted[key]) for key in ("forward", "backward", "recompute")) == traced
    assert counted["findings"] == []
