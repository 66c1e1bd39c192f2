"""The figure of an adapted model equals what transformers itself says of the model that peft makes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
peft = pytest.importorskip("peft")

from peers.cases import Case  # noqa: E402
from peers.trainer import TrainerFigure  # noqa: E402
from test_formulas import LLAMA  # noqa: E402


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("copied", [None, "input-embeddings and output head"])
def test_adapted_models_need_not_be_built(tied: bool, copied: str | None) -> None:
    config = {**LLAMA, "tie_word_embeddings": tied}
    values = {key: value for key, value in config.items() if key != "model_type"}
    plain = transformers.LlamaForCausalLM(transformers.LlamaConfig(**values))
    parameters = plain.num_parameters()
    settings: dict[str, Any] = {"modules_to_save": ["embed_tokens", "lm_head"]} if copied else {}
    adapted = peft.get_peft_model(plain, peft.LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM", **settings))
    inputs = {"input_ids": torch.ones(2, 10, dtype=torch.long)}
    expected = transformers.Trainer.floating_point_ops(SimpleNamespace(model=adapted), inputs)
    trainable = sum(p.numel() for p in adapted.parameters() if p.requires_grad)
    run = {"method": "lora", "sequences": 2, "seq_len": 10, "gradient_checkpointing": None, "modules_to_save": copied}
    case = Case("tiny", "causal", config, parameters, trainable, 0, run)
    assert TrainerFigure().training(case) == expected > 0
