"""Tiny models with random weights, and data for them."""

from __future__ import annotations

from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments

PAD = 0


def llama(**changes: Any) -> LlamaForCausalLM:
    torch.manual_seed(0)
    settings = {
        "vocab_size": 128,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "tie_word_embeddings": False,
        "attn_implementation": "eager",
        "pad_token_id": PAD,
    }
    return LlamaForCausalLM(LlamaConfig(**{**settings, **changes}))


def sequences(lengths: list[int]) -> list[dict[str, list[int]]]:
    return [{"input_ids": [1 + (index + place) % 100 for place in range(length)]} for index, length in enumerate(lengths)]


def collate(rows: list[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
    """Pads to the longest row, as ordinary collators do."""
    longest = max(len(row["input_ids"]) for row in rows)
    ids = torch.tensor([row["input_ids"] + [PAD] * (longest - len(row["input_ids"])) for row in rows])
    mask = torch.tensor([[1] * len(row["input_ids"]) + [0] * (longest - len(row["input_ids"])) for row in rows])
    return {"input_ids": ids, "attention_mask": mask, "labels": ids.masked_fill(mask == 0, -100)}


def trainer(model: Any, folder: Any, lengths: list[int], callbacks: list[Any] | None = None, **settings: Any) -> Trainer:
    evaluation = settings.pop("evaluation", None)
    defaults: dict[str, Any] = {
        "output_dir": str(folder),
        "per_device_train_batch_size": 2,
        "num_train_epochs": 1,
        "report_to": [],
        "use_cpu": True,
        "save_strategy": "no",
        "disable_tqdm": True,
        "train_sampling_strategy": "sequential",
        "dataloader_pin_memory": False,
    }
    return Trainer(
        model=model,
        args=TrainingArguments(**{**defaults, **settings}),
        train_dataset=sequences(lengths),
        eval_dataset=evaluation,
        data_collator=collate,
        callbacks=callbacks,
    )
