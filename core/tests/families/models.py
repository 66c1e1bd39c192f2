"""Small random models: how a case is built, and what its parts are called."""

import json
from dataclasses import dataclass, field

import torch
import transformers
from torch import nn
from transformers import AutoConfig
from transformers.pytorch_utils import Conv1D

# Names that PEFT turns into stacks of experts in some families, wherever they stand; all of one stack or none.
EXPERT_NAMES = {"gate", "gate_proj", "up_proj", "down_proj", "w1", "w2", "w3"}
# A part that looks at pictures or sound is no part of the text blocks that `last-layers` counts.
TOWERS = ("vision", "visual", "image", "audio", "speech")


@dataclass
class Case:
    """One configuration and the sizes it is traced with."""

    name: str
    config: dict
    model: str = "AutoModelForCausalLM"
    inputs: object = None
    sizes: list = field(default_factory=list)
    targets: list = field(default_factory=list)
    # PEFT refuses some modules of Mamba, and with them all-linear; these then stand for it.
    linear: object = "all-linear"
    blocks: str = ""
    embeddings: str = ""
    head: str = ""
    other_targets: list = field(default_factory=list)
    prompt: bool = False
    # Modules frozen together in a full fine-tune, beside the input embeddings: a tower, all but the projector …
    frozen: list = field(default_factory=list)
    # What is differentiated where the class has no loss of its own.
    loss: object = None
    reentrant: bool = True
    leave_out: tuple = ()
    note: str = ""


def configuration(case):
    entries = json.loads(json.dumps(case.config))
    kind = entries.pop("model_type")
    return AutoConfig.for_model(kind, **entries)


def build(case):
    torch.manual_seed(0)
    config = configuration(case)
    options = {"attn_implementation": "eager"}
    owner = getattr(transformers, case.model)
    make = owner.from_config if case.model.startswith("Auto") else owner._from_config
    try:
        model = make(config, experts_implementation="batched_mm", **options)
    except (TypeError, ValueError):
        model = make(config, **options)
    model = model.float()
    for part in (config, getattr(config, "text_config", None), getattr(config, "decoder", None)):
        if hasattr(part, "use_cache"):
            part.use_cache = False
    return model.train()


def disk_config(case):
    """What `config.json` holds after `save_pretrained`, with the class that was traced."""
    with torch.device("meta"):
        model = build(case)
    entries = configuration(case).to_diff_dict()
    entries["architectures"] = [type(model).__name__]
    for key in ("transformers_version", "_attn_implementation_autoset", "_experts_implementation"):
        entries.pop(key, None)
    return entries


def parameters(model):
    """Every parameter in the order of `named_parameters`: name, shape, the name it shares a tensor with."""
    first, rows = {}, []
    for name, parameter in model.named_parameters(remove_duplicate=False):
        shared = first.setdefault(id(parameter), name)
        rows.append([name, list(parameter.shape), None if shared == name else shared])
    return rows


def linear_names(case, model):
    """Linear modules that PEFT adapts one by one, the head aside."""
    left_out = {"out_proj"} if case.linear != "all-linear" else set()
    head = head_name(case, model)
    return [
        name
        for name, module in model.named_modules()
        if isinstance(module, (nn.Linear, Conv1D))
        and "Router" not in type(module).__name__
        and name != head
        and name.rsplit(".", 1)[-1] not in left_out | EXPERT_NAMES
    ]


def named(model, module):
    return next((name for name, other in model.named_modules(remove_duplicate=False) if other is module), "")


def embeddings_name(case, model):
    if case.embeddings:
        return case.embeddings
    try:
        return named(model, model.get_input_embeddings())
    except NotImplementedError:
        return ""


def head_name(case, model):
    if case.head:
        return case.head
    found = named(model, model.get_output_embeddings())
    if found:
        return found
    for name in ("classifier", "score", "classification_head"):
        if hasattr(model, name):
            return name
    return ""


def blocks_name(case, model):
    """The list of blocks that `last-layers` counts: the decoder's where there are two stacks."""
    if case.blocks:
        return "" if case.blocks == "-" else case.blocks
    lists = [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.ModuleList)
        and len(module) > 1
        and not any(tower in name for tower in TOWERS)
        and any(name.endswith(ending) for ending in ("layers", "layer", "h", "block", "blocks"))
        and not any(other.isdigit() for other in name.split("."))
    ]
    decoder = [name for name in lists if "decoder" in name.split(".")]
    return (decoder or lists or [""])[0]
