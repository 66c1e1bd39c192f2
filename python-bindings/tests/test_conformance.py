"""The worked answers of `tests/conformance`, held against PyTorch's own counter on live models, and our count against both.

The counter is the judge here: what it counts on the model that a file describes has to be the file's worked answer. So the
answers rest on two legs that know nothing of each other, arithmetic by hand and this.
"""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig, AutoModelForCausalLM

import flopsmeter
from flopsmeter import _facts

FOLDER = Path(__file__).resolve().parents[2] / "tests/conformance"
FILES = sorted(FOLDER.glob("*.toml"))


def read(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text())


CASES = [pytest.param(read(path), case, id=f"{path.stem}: {case['name']}") for path in FILES for case in read(path)["cases"]]


@dataclass
class Operations:
    """What the counter counted."""

    forward: int = 0
    backward: int = 0
    recompute: int = 0
    without_gradient: int = 0

    def add(self, other: Operations, times: int) -> None:
        for part, more in vars(other).items():
            setattr(self, part, getattr(self, part) + times * more)

    def expected(self) -> dict[str, str]:
        """In the form of a worked answer."""
        training = self.forward + self.backward
        parts = {"forward": self.forward, "backward": self.backward, "recompute": self.recompute, "training": training}
        parts["executed"] = training + self.recompute + self.without_gradient
        return {part: str(flop) for part, flop in parts.items()}


def build(model: dict[str, Any]) -> Any:
    """The model as it is trained; weights of four bits stand unpacked, since the counter does not see their kernels."""
    torch.manual_seed(0)
    values = json.loads((FOLDER / f"models/{model['shape']}.json").read_text())["config"]
    config = AutoConfig.for_model(values.pop("model_type"), **values)
    live = AutoModelForCausalLM.from_config(config, attn_implementation="eager", experts_implementation="eager")
    if model.get("input_require_grads"):
        live.enable_input_require_grads()
    if "gradient_checkpointing" in model:
        use_reentrant = model["gradient_checkpointing"] == "reentrant"
        live.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": use_reentrant})
    if model.get("adapters"):
        import peft

        (rank,) = {adapter["rank"] for adapter in model["adapters"]}
        modules = [adapter["module"] for adapter in model["adapters"]]
        live = peft.get_peft_model(live, peft.LoraConfig(r=rank, target_modules=modules, task_type="CAUSAL_LM"))
    elif model["trained"] != "all":
        for name, parameter in live.named_parameters():
            parameter.requires_grad_(name in model["trained"])
    return live.train()


def batches(row: dict[str, Any], kernel: str | None) -> list[dict[str, torch.Tensor]]:
    """What the passes of a row feed, all of them together where its sequences are packed."""
    packed = [part["length"] for part in row.get("packed", []) for _ in range(part["count"])]
    if packed and kernel == "flash_attention_2":
        # Its kernel has no CPU form; what it does is what it would do for each sequence by itself.
        return [tokens(1, length) for length in packed]
    if packed:
        positions = torch.cat([torch.arange(length) for length in packed])
        return [{**tokens(row["sequences"], row["length"]), "position_ids": positions.unsqueeze(0)}]
    return [tokens(row["sequences"], row["length"])] * row["count"]


def tokens(sequences: int, length: int) -> dict[str, torch.Tensor]:
    ids = torch.arange(sequences * length).reshape(sequences, length) % 32
    return {"input_ids": ids, "labels": ids}


def measure(model: Any, batch: dict[str, torch.Tensor], gradient: bool) -> Operations:
    """One pass under the counter."""
    with torch.set_grad_enabled(gradient), FlopCounterMode(display=False) as forward:
        loss = model(**batch, use_cache=False).loss
    if not gradient:
        return Operations(without_gradient=forward.get_total_flops())
    with FlopCounterMode(display=False) as backward:
        loss.backward()
    return Operations(forward.get_total_flops(), backward.get_total_flops())


def measure_all(model: Any, plain: Any, case: dict[str, Any]) -> Operations:
    """Everything that the case feeds; `plain` does not recompute, which tells recomputation from the rest of a backward pass."""
    total = Operations()
    for row in rows(case):
        for batch in batches(row, case.get("attention_implementation")):
            done = measure(model, batch, row["gradient"])
            needed = measure(plain, batch, row["gradient"])
            done.recompute, done.backward = done.backward - needed.backward, needed.backward
            total.add(done, 1)
    return total


def rows(case: dict[str, Any]) -> list[dict[str, Any]]:
    """What whole copies of the model are fed: of ranks that share one, the first speaks for all of them."""
    found = []
    for segment in case["segments"]:
        for process in segment["processes"]:
            group = process.get("parallel", {})
            if group.get("tensor_rank", 0) or group.get("context_rank", 0):
                continue
            shares = group.get("context", 1)
            found += [{**row, "length": row["length"] * shares} for row in process["passes"]]
    return found


@pytest.mark.parametrize(("count", "case"), CASES)
def test_the_worked_answer_is_what_the_counter_counts(count: dict[str, Any], case: dict[str, Any]) -> None:
    model = count["model"]
    plain = build({key: value for key, value in model.items() if key != "gradient_checkpointing"})
    assert measure_all(build(model), plain, case).expected() == case["expected"]["flops"]


@pytest.mark.parametrize("count", [pytest.param(read(path), id=path.stem) for path in FILES])
def test_the_live_model_tells_the_facts_of_the_file(count: dict[str, Any]) -> None:
    model = count["model"]
    shape = json.loads((FOLDER / f"models/{model['shape']}.json").read_text())
    live = build(model)
    _, plain = _facts.unwrap(live)
    facts = _facts.read(live, 0).message
    told = facts["training"]
    assert facts["class_name"] == shape["class_name"]
    assert (facts["parameters_total"], facts["parameters_trainable"]) == (model["parameters_total"], model["parameters_trainable"])
    trained = sorted(shape["parameters"]) if model["trained"] == "all" else model["trained"]
    assert sorted(told["trained"]) == sorted(trained)
    # A dropout adds nothing to plain LoRA, so the files do not tell of one.
    adapters = [{key: value for key, value in row.items() if key != "dropout"} for row in told["adapters"]]
    assert sorted(adapters, key=lambda row: row["module"]) == model.get("adapters", [])
    assert told["gradient_checkpointing"] == model.get("gradient_checkpointing")
    assert told["input_require_grads"] == model.get("input_require_grads", False)
    if not model.get("adapters"):
        assert {name: list(weight.shape) for name, weight in plain.named_parameters()} == shape["parameters"]


@pytest.mark.parametrize(("count", "case"), CASES)
def test_our_count_of_each_micro_batch_is_the_counters(count: dict[str, Any], case: dict[str, Any]) -> None:
    model = build(count["model"])
    for row in rows(case):
        if row.get("packed") or not row["gradient"]:
            continue
        ours = flopsmeter.count(model, sequences=row["sequences"], length=row["length"])
        done = measure(model, tokens(row["sequences"], row["length"]), gradient=True)
        assert (ours.forward, ours.backward + ours.recompute) == (done.forward, done.backward)
        assert ours.findings == ()
