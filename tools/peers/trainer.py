"""transformers' own figure, `total_flos`: the real `Trainer.floating_point_ops`, on models without storage.

The only peer here that is run instead of written anew. An adapted model is not built: `num_parameters` counts every parameter
outside embedding tables, so the pairs and the head's copy come on top of the plain model (a test compares with peft).
"""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from .formulas import Peer

if TYPE_CHECKING:
    from .cases import Case, Config

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

_CLASSES = {
    "causal": "AutoModelForCausalLM",
    "masked": "AutoModelForMaskedLM",
    "seq2seq": "AutoModelForSeq2SeqLM",
    "image": "AutoModelForImageClassification",
    "vlm": "AutoModelForImageTextToText",
}


class Unavailable(Exception):
    """transformers cannot be imported here, or has no such method."""


class TrainerFigure:
    """Asks the installed transformers; models are built once each."""

    def __init__(self) -> None:
        try:
            import torch
            import transformers
        except ImportError as problem:
            raise Unavailable(f"{problem}; run tools/venv.sh for its column") from problem
        if not hasattr(transformers.Trainer, "floating_point_ops"):
            raise Unavailable(f"transformers {transformers.__version__} has no Trainer.floating_point_ops")
        self._version = transformers.__version__
        self._torch = torch
        self._transformers = transformers
        self._models: dict[str, Any] = {}

    def peer(self) -> Peer:
        return Peer(
            "transformers",
            "6 × parameters outside embedding tables × elements of the main input",
            f"transformers {self._version}, `Trainer.floating_point_ops` itself",
            "no attention over the context; no tied head; idle experts and frozen weights billed; pixels taken for tokens",
            self.training,
        )

    def training(self, case: Case) -> int:
        model = self._models.get(case.model)
        if model is None:
            model = self._models[case.model] = self._build(case.config, case.kind)
        added = trained_outside_embeddings(case)

        def num_parameters(*, exclude_embeddings: bool) -> int:
            return int(model.num_parameters(exclude_embeddings=exclude_embeddings)) + added

        stand_in = SimpleNamespace(main_input_name=model.main_input_name, num_parameters=num_parameters)
        inputs = {model.main_input_name: self._input(case, model)}
        trainer: Any = SimpleNamespace(model=stand_in)
        return int(self._transformers.Trainer.floating_point_ops(trainer, inputs))

    def _build(self, config: Config, kind: str) -> Any:
        values = {key: value for key, value in config.items() if key != "model_type"}
        described = self._transformers.AutoConfig.for_model(config["model_type"], **values)
        auto = getattr(self._transformers, _CLASSES[kind])
        with self._torch.device("meta"):
            return auto.from_config(described)

    def _input(self, case: Case, model: Any) -> Any:
        size = [case.sequences, case.length]
        if model.main_input_name == "pixel_values":
            side = model.config.image_size
            size = [case.sequences, model.config.num_channels, side, side]
        return self._torch.empty(size, device="meta")


def trained_outside_embeddings(case: Case) -> int:
    """Parameters that the way of training adds and `num_parameters(exclude_embeddings=True)` sees."""
    if not case.is_lora:
        return 0
    copied_table = _table(case.config) if case.copies_embeddings else 0
    return case.trainable_parameters - copied_table


def _table(config: Config) -> int:
    """Of the input embeddings, where they are a table: patches of an image are projected, not looked up."""
    text = config.get("text_config", config)
    if "vocab_size" not in text:
        return 0
    width = next(text[key] for key in ("word_embed_proj_dim", "hidden_size", "d_model", "n_embd") if key in text)
    return int(text["vocab_size"] * width)
