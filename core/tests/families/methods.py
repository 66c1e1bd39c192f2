"""Ways of training laid over a model, in the words of `flopsmeter plan`, and the rows asked of every case."""

import random
import re

import peft
from peft import LoraConfig, PrefixTuningConfig, PromptTuningConfig, get_peft_model

import models

WRAPPERS = re.compile(r"^base_model\.model\.|\.base_layer(?=\.|$)|\.modules_to_save\.default(?=\.|$)")
BOTH = (None, "non-reentrant")
ALL = (None, "non-reentrant", "reentrant")


def plain(name):
    return WRAPPERS.sub("", name)


def asked(case, model):
    """Method and options of every row of a case, with the index of the size it is traced with."""
    rows = []

    def add(method, checkpointing=(None,), sizes=(0,), **rest):
        kept = [how for how in checkpointing if case.reentrant or how != "reentrant"]
        kept = [how for how in kept if how is None or "checkpointing" not in case.leave_out]
        rows.extend(
            {"method": method, **rest, "gradient_checkpointing": how, "size": size}
            for size in sizes
            for how in kept
            if size < len(case.sizes) and method not in case.leave_out
        )

    embeddings, head = models.embeddings_name(case, model), models.head_name(case, model)
    add("full", ALL, (0, 1))
    add("full", sizes=range(2, len(case.sizes)))
    if embeddings:
        add("full", frozen=["input-embeddings"])
    for parts in case.frozen:
        add("full", BOTH, frozen=parts)
    if models.blocks_name(case, model):
        add("last-layers", BOTH, n=1)
        add("last-layers", ("reentrant",), n=1)
    if head:
        add("head-only", BOTH)
    if case.targets:
        add("lora", ALL, r=3, targets=case.targets)
        add("lora", BOTH, (1,), r=3, targets=case.targets)
        if embeddings:
            add("lora", r=3, targets=case.targets, input_require_grads=True)
        add("dora", BOTH, r=2, targets=case.targets)
    add("lora", ALL, r=2, targets=case.linear)
    add("lora", BOTH, (1,), r=2, targets=case.linear)
    add("lora", sizes=(2,), r=2, targets=case.linear)
    saved = [name for name in (embeddings, head) if name]
    if saved and case.targets and "saved" not in case.leave_out:
        add("lora", BOTH, r=3, targets=case.targets, modules_to_save=saved)
    if case.prompt:
        add("prompt", BOTH, (0, 1), n=4)
    for seed in range(4):
        add("random", (ALL if seed % 2 else BOTH)[seed % 3 % 2 :][:1], (seed % len(case.sizes),), seed=seed)
    for targets in case.other_targets:
        add("lora", BOTH, (0, 1), r=2, targets=targets)
    names = models.linear_names(case, model)
    for seed, share in enumerate((0.15, 0.5)):
        chance = random.Random(f"{case.name} LoRA {seed}")
        chosen = [name for name in names if chance.random() < share] or names[-1:]
        add("lora", (BOTH[seed],), (seed % len(case.sizes),), r=1 + 2 * seed, targets=chosen)
    if case.prompt:
        add("prefix", n=3)
    return rows


def freeze_all_but(model, chosen):
    wanted = {id(parameter) for parameter in chosen}
    for parameter in model.parameters():
        parameter.requires_grad_(id(parameter) in wanted)


def apply(case, model, row):
    """The model made ready for a row, PEFT's wrapper around it where there is one."""
    method = row["method"]
    if method == "full":
        for name in row.get("frozen", []):
            name = models.embeddings_name(case, model) if name == "input-embeddings" else name
            model.get_submodule(name).requires_grad_(False)
    elif method == "last-layers":
        blocks = model.get_submodule(models.blocks_name(case, model))
        freeze_all_but(model, [it for block in list(blocks)[-row["n"] :] for it in block.parameters()])
    elif method == "head-only":
        freeze_all_but(model, model.get_submodule(models.head_name(case, model)).parameters())
    elif method == "random":
        chance = random.Random(f"{case.name} {row['seed']}")
        share = (0.05, 0.15, 0.4, 0.8)[row["seed"] % 4]
        freeze_all_but(model, [it for it in model.parameters() if chance.random() < share])
    elif method in ("lora", "dora"):
        setting = LoraConfig(
            r=row["r"],
            target_modules=row["targets"],
            modules_to_save=row.get("modules_to_save"),
            use_dora=method == "dora",
            lora_dropout=0.0,
        )
        return get_peft_model(model, setting)
    elif method == "prompt":
        return get_peft_model(model, PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=row["n"]))
    elif method == "prefix":
        return get_peft_model(model, PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=row["n"]))
    return model


def marks(names, chosen):
    """A string with a 1 for each parameter that is chosen; a tied one is marked where its tensor stands first."""
    strays = set(chosen) - set(names)
    assert not strays, strays
    return "".join("1" if name in chosen else "0" for name in names)


def adapted(base):
    """Parameters of the plain model that got a low-rank pair, a stack of experts' among them."""
    found = set()
    for name, module in base.named_modules():
        if isinstance(module, peft.tuners.lora.layer.ParamWrapper):
            found.add(f"{plain(name)}.{module.parameter_name}")
        elif isinstance(module, peft.tuners.lora.LoraLayer):
            found.add(f"{plain(name)}.weight")
    return found
