"""Writes traced.json: small real models, what a hook would say of them, and what PyTorch's counter counts.

Run with torch, transformers and peft installed:  python trace.py > traced.json
Every model has random weights and is built from its configuration, so nothing is downloaded. Attention is eager: the
fused CPU kernel repeats a product in its backward pass.
"""

import json
import random
import re
import sys

import peft
import torch
import transformers
from peft import LoraConfig, get_peft_model
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig, AutoModelForCausalLM, DynamicCache

COMMON = {
    "vocab_size": 96,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
CONFIGS = {
    "llama": {},
    "llama-tied-biased": {"model_type": "llama", "tie_word_embeddings": True, "attention_bias": True, "mlp_bias": True},
    "mistral": {"head_dim": 20},
    "qwen2": {"tie_word_embeddings": True},
    "qwen3": {"head_dim": 16},
    "gemma": {"head_dim": 16},
    "gemma2": {"head_dim": 16, "sliding_window": 8},
    "gemma3_text": {"head_dim": 16, "sliding_window": 8, "tie_word_embeddings": False},
    "phi3": {},
    "phi3-dropout": {"model_type": "phi3", "resid_pdrop": 0.1},
}
KINDS = ["full", "lora", "dora", "random", "random-lora"]
WRAPPERS = re.compile(r"^base_model\.model\.|\.base_layer(?=\.|$)|\.modules_to_save\.default(?=\.|$)")


def plain(name):
    return WRAPPERS.sub("", name)


def adapted(kind, chance, config):
    """A LoRA setting: the usual ones first, then random ones."""
    linear = ["qkv_proj", "gate_up_proj"] if config.model_type == "phi3" else ["q_proj", "k_proj", "v_proj", "gate_proj", "up_proj"]
    linear += ["o_proj", "down_proj"]
    options = {"r": chance.choice([1, 4, 7]), "lora_dropout": 0.0, "use_dora": kind == "dora"}
    targets = chance.choice(["all-linear", linear[:1], chance.sample(linear, 2), ["down_proj"], ["layers.1.self_attn.o_proj"]])
    if kind == "random-lora":
        targets = chance.sample([*linear, "lm_head", "embed_tokens", "layers.2.mlp.down_proj"], 3)
    saved = chance.choice([None, None, ["lm_head"], ["embed_tokens", "lm_head"], ["model.norm"], ["input_layernorm"]])
    if saved and isinstance(targets, list):
        targets = [name for name in targets if name not in saved] or linear[:1]
    return LoraConfig(target_modules=targets, modules_to_save=saved, **options)


def entries(name):
    return {**COMMON, "model_type": name, **CONFIGS[name]}


def prepare(config, kind, checkpointing, input_grads, chance):
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").float()
    model.config.use_cache = False
    if kind == "random":
        for parameter in model.parameters():
            parameter.requires_grad_(chance.random() < chance.choice([0.05, 0.5]))
    setting = None
    if kind in ("lora", "dora", "random-lora"):
        setting = adapted(kind, chance, config)
        model = get_peft_model(model, setting)
    if checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": checkpointing == "reentrant"})
    base = model.get_base_model() if setting else model
    if input_grads:
        base.enable_input_require_grads()
    elif checkpointing:
        base.disable_input_require_grads()  # transformers 5 has just switched it on
    model.train()
    return model, base, setting


def parameter_names(config):
    """Parameters of the plain model, the head's among them even where it is tied."""
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    return list(dict.fromkeys([*(name for name, _ in model.named_parameters()), "lm_head.weight"]))


def marks(names, chosen):
    """A string with a 1 for each name that is chosen, so that the file stays small."""
    strays = set(chosen) - set(names)
    assert not strays, strays
    return "".join("1" if name in chosen else "0" for name in names)


def facts(base, names, checkpointing, input_grads):
    adapted, copied = set(), []
    for name, module in base.named_modules():
        if isinstance(module, peft.tuners.lora.LoraLayer):
            adapted.add(plain(name) + ".weight")
        if isinstance(module, peft.utils.ModulesToSaveWrapper):
            copied.append(plain(name))
    own = [(name, parameter) for name, parameter in base.named_parameters() if "lora_" not in name]
    # Originals of copies are frozen, so each plain name that is trained stands here once.
    trained = {plain(name) for name, parameter in own if parameter.requires_grad}
    return {
        "trained": marks(names, trained),
        "adapted": marks(names, adapted),
        "copied": copied,
        "gradient_checkpointing": checkpointing,
        "input_require_grads": input_grads,
    }


def count(function):
    with FlopCounterMode(display=False) as counter:
        result = function()
    return counter.get_total_flops(), result


def trace(name, kind, checkpointing, input_grads, seed):
    chance = random.Random(seed)
    torch.manual_seed(seed)
    config = AutoConfig.for_model(**entries(name))
    model, base, setting = prepare(config, kind, checkpointing, input_grads, chance)
    sequences, length = chance.choice([(1, 12), (2, 9), (3, 5)])
    tokens = torch.randint(3, COMMON["vocab_size"], (sequences, length))
    forward, output = count(lambda: model(input_ids=tokens, labels=tokens, use_cache=False))
    backward = count(output.loss.backward)[0] if output.loss.requires_grad else 0
    # Generation: a prompt, then one position with the cache.
    base.eval()
    with torch.no_grad():
        cache = DynamicCache(config=config)
        model(input_ids=tokens, past_key_values=cache, use_cache=True)
        decode, _ = count(lambda: model(input_ids=tokens[:, :1], past_key_values=cache, use_cache=True))
    sliding = "sliding_attention" in (getattr(config, "layer_types", None) or [])
    row = {
        "config": name,
        **facts(base, parameter_names(config), checkpointing, input_grads),
        "sequences": sequences,
        "length": length,
        "parameters_total": sum(parameter.numel() for parameter in model.parameters()),
        "parameters_trainable": sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad),
        "forward": forward,
        "backward_and_recompute": backward,
        # A window cuts the cache, which we count in full.
        "decode_one": None if sliding else decode,
    }
    if setting:
        row["lora"] = {
            "rank": setting.r,
            "kind": "dora" if setting.use_dora else "lora",
            # peft has replaced `all-linear` by the set of names by now
            "targets": sorted(setting.target_modules),
            "modules_to_save": setting.modules_to_save or [],
        }
    return row


def main():
    rows, seed = [], 0
    for name in CONFIGS:
        for kind in KINDS:
            for checkpointing in (None, "non-reentrant", "reentrant"):
                for input_grads in (False, True):
                    for _ in range(3 if kind.startswith("random") else 1):
                        seed += 1
                        try:
                            rows.append(trace(name, kind, checkpointing, input_grads, seed))
                        except ValueError as problem:
                            print(name, kind, seed, problem, file=sys.stderr)
    versions = {module.__name__: module.__version__ for module in (torch, transformers, peft)}
    configs = {
        name: {"config": entries(name), "parameters": parameter_names(AutoConfig.for_model(**entries(name)))}
        for name in CONFIGS
    }
    print(json.dumps({"versions": versions})[:-1] + ', "configs": ' + json.dumps(configs) + ', "rows": [')
    print(",\n".join(json.dumps(row, separators=(",", ":")) for row in rows))
    print("]}")


if __name__ == "__main__":
    main()
