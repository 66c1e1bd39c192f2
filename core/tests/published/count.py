"""Counts the parameters of each model in `models.json` anew, from its configuration alone, and rewrites the file.

Needs torch and transformers; nothing is downloaded, since models are built on the meta device.
"""

import copy
import json
from pathlib import Path

import torch
import transformers

MODELS = Path(__file__).with_name("models.json")


def parameters(given: dict) -> int:
    """Elements of the distinct parameters of the class that `architectures` names."""
    keys = copy.deepcopy(given)
    model_class = getattr(transformers, keys.pop("architectures")[0])
    config = transformers.AutoConfig.for_model(keys.pop("model_type"), **keys)
    with torch.device("meta"):
        model = model_class._from_config(config)
    return sum(parameter.numel() for parameter in model.parameters())


def main() -> None:
    models = json.loads(MODELS.read_text())
    for model in models:
        model["parameters"] = parameters(model["config"])
    lines = ",\n".join(json.dumps(model, separators=(",", ":")) for model in models)
    MODELS.write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
