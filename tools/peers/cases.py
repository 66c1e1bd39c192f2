"""The recorded cases: what PyTorch's operation counter counted for one micro-batch of one model, trained in one way."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

Config = dict[str, Any]

GROUPS = (
    "full, dense text",
    "full, MoE",
    "full, other",
    "full + ckpt",
    "LoRA",
    "LoRA + ckpt",
    "frozen",
    "frozen + ckpt",
)

_EXPERT_KEYS = ("num_experts", "num_local_experts", "n_routed_experts")
_COPIED = {"input-embeddings and output head": "input-embeddings,output-head"}


@dataclass(frozen=True)
class Case:
    """One row of the fixture with the model it belongs to."""

    model: str
    kind: str
    config: Config
    base_parameters: int
    trainable_parameters: int
    decoder_length: int
    run: dict[str, Any]

    @property
    def sequences(self) -> int:
        return int(self.run["sequences"])

    @property
    def length(self) -> int:
        return int(self.run["seq_len"])

    @property
    def tokens(self) -> int:
        """Positions of `input_ids`, which the peers' token counters count: of an encoder-decoder, the encoder's."""
        return self.sequences * self.length

    @property
    def images(self) -> int:
        """Images beside the text of each sequence; of one that is cut into tiles, the tiles. None where the image is the sequence."""
        if self.kind != "vlm":
            return 0
        return int(self.run.get("tiles") or self.run.get("images") or 1)

    @property
    def training(self) -> int:
        """Model operations: forward and backward, without recomputation."""
        return int(self.run["forward"]) + int(self.run["backward"])

    @property
    def executed(self) -> int:
        return self.training + int(self.run["recompute"])

    @property
    def executed_visible(self) -> int:
        """The same with only those pairs of positions that the mask leaves."""
        return int(self.run["training_visible_pairs_incl_recompute"])

    @property
    def is_lora(self) -> bool:
        return bool(self.run["method"] == "lora")

    @property
    def is_checkpointed(self) -> bool:
        return self.run["gradient_checkpointing"] is not None

    @property
    def is_plain_full(self) -> bool:
        return self.run["method"] == "full" and not self.run.get("frozen") and not self.is_checkpointed

    @property
    def copies_embeddings(self) -> bool:
        """A trained copy of the input embeddings and of the head stands beside the frozen originals."""
        return self.run.get("modules_to_save") is not None

    @property
    def total_parameters(self) -> int:
        """Of the model as it is trained, adapters and copies included."""
        return self.base_parameters + (self.trainable_parameters if self.is_lora else 0)

    @property
    def group(self) -> str:
        """Which column of the table it belongs to."""
        suffix = " + ckpt" if self.is_checkpointed else ""
        if self.is_lora:
            return f"LoRA{suffix}"
        if self.run["method"] != "full" or self.run.get("frozen"):
            return f"frozen{suffix}"
        if suffix:
            return f"full{suffix}"
        if any(key in self.config for key in _EXPERT_KEYS):
            return "full, MoE"
        is_attention_decoder = self.kind == "causal" and "state_size" not in self.config
        return "full, dense text" if is_attention_decoder else "full, other"

    def counter_parts(self) -> tuple[int, int, int]:
        """Forward, backward and recomputation as counted."""
        return int(self.run["forward"]), int(self.run["backward"]), int(self.run["recompute"])

    def options(self) -> list[str]:
        """The options of `flopsmeter plan` that describe it."""
        run = self.run
        line = ["--sequences", str(self.sequences), "--seq-len", str(self.length), "--method", run["method"]]
        if self.decoder_length:
            line += ["--decoder-len", str(self.decoder_length)]
        if self.images:
            line += ["--images", str(self.images)]
        if run.get("image_grid") is not None:
            line += ["--image-grid", ",".join(map(str, run["image_grid"]))]
        if run.get("r") is not None:
            line += ["--lora-r", str(run["r"])]
        if run.get("targets") is not None:
            line += ["--lora-targets", _comma(run["targets"])]
        if run.get("modules_to_save") is not None:
            line += ["--modules-to-save", _COPIED[run["modules_to_save"]]]
        if run.get("frozen"):
            line += ["--frozen", _comma(run["frozen"])]
        if run.get("n") is not None:
            line += ["--train-last", str(run["n"])]
        if self.is_checkpointed:
            line += ["--gradient-checkpointing", run["gradient_checkpointing"]]
        if run.get("input_require_grads"):
            line += ["--input-require-grads"]
        return line


def _comma(names: str | list[str]) -> str:
    return names if isinstance(names, str) else ",".join(names)


def read(path: Path) -> list[Case]:
    """All rows of a fixture in the form of `tests/fixtures/flop_cases.json`."""
    return [
        Case(
            model=case["name"],
            kind=case["kind"],
            config=case["config"],
            base_parameters=case["params"],
            trainable_parameters=run["trainable"],
            decoder_length=case.get("dec_len") or 0,
            run=run,
        )
        for case in json.loads(path.read_text())["cases"]
        for run in case["runs"]
    ]


def read_families(path: Path) -> list[Case]:
    """Of a fixture of `core/tests/families`, a full fine-tune of each small model: one row each."""
    fixture = json.loads(path.read_text())
    rows: dict[str, dict[str, Any]] = {}
    for row in fixture["rows"]:
        if row["method"] == "full" and not row.get("frozen") and row["gradient_checkpointing"] is None:
            rows.setdefault(row["config"], row)
    return [
        Case(
            model=name,
            kind="vlm" if row.get("images") and "vision_config" in fixture["configs"][name]["config"] else "causal",
            config=fixture["configs"][name]["config"],
            base_parameters=row["parameters_total"],
            trainable_parameters=row["trainable"],
            decoder_length=row.get("dec_len") or 0,
            run=row,
        )
        for name, row in rows.items()
    ]
