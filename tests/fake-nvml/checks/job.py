"""A small model and a declared base for jobs that are led line by line (tests/fixtures/jobs/hooked.py)."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

HOOKED = Path(__file__).resolve().parents[2] / "fixtures/jobs/hooked.py"
CONFIG = {
    "model_type": "llama", "vocab_size": 320, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "tie_word_embeddings": False,
}  # fmt: skip
TARGETS = ["q_proj", "v_proj"]
RANK = 8


def write(folder: Path, flopsmeter: Path) -> None:
    """`facts.json`, which a hook tells of the model, and `base.toml`."""
    (folder / "config.json").write_text(json.dumps(CONFIG))
    method = ["--method", "lora", "--lora-r", str(RANK), "--lora-targets", ",".join(TARGETS)]
    size = ["--sequences", "1", "--seq-len", "8"]
    planned = subprocess.run(
        [flopsmeter, "plan", "--json", "--config", folder / "config.json", *method, *size], check=True, stdout=subprocess.PIPE
    )
    parameters = json.loads(planned.stdout)["params"]
    modules = [f"model.layers.{layer}.self_attn.{target}" for layer in range(CONFIG["num_hidden_layers"]) for target in TARGETS]
    training: dict[str, Any] = {
        "trained": [],
        "adapters": [{"module": module, "rank": RANK, "kind": "lora", "trained": True} for module in modules],
        "copied": [],
        "gradient_checkpointing": None,
        "input_require_grads": False,
        "attention_implementation": "eager",
    }
    facts = {
        "model": 0,
        "class_name": "LlamaForCausalLM",
        "name_or_path": None,
        "config": CONFIG,
        "parameters_total": parameters["total"],
        "parameters_trainable": parameters["trainable"],
        "training": training,
        "libraries": {"torch": "0"},
    }
    (folder / "facts.json").write_text(json.dumps(facts))
    base = {"name": "acme/base", "flop": "1000000000", "source": "a test", "declared_by": "Ada, trainer", "date": "2026-11-01"}
    lines = [f'{key} = "{value}"' for key, value in base.items()]
    (folder / "base.toml").write_text("\n".join([*lines, "gpai = true", ""]))
