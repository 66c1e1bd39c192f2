"""Tiny TRL jobs: a word tokenizer, data, and what every trainer is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from models import llama
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForSequenceClassification, PreTrainedTokenizerFast

END = 2
LENGTHS = [5, 9, 4, 12, 7, 3, 6, 8]


CHAT = "{% for message in messages %}{{ message['content'] }} {% endfor %}"


def tokenizer(*, chat: bool = False) -> PreTrainedTokenizerFast:
    vocabulary = {"<pad>": 0, "<s>": 1, "</s>": END, "<unk>": 3, **{f"w{number}": number + 4 for number in range(124)}}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    named = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    return PreTrainedTokenizerFast(tokenizer_object=words, chat_template=CHAT if chat else None, **named)


def words(length: int, first: int = 0) -> str:
    return " ".join(f"w{(first + place) % 100}" for place in range(length))


def policy(**changes: Any) -> Any:
    return llama(bos_token_id=1, eos_token_id=END, **changes)


def judge() -> Any:
    torch.manual_seed(1)
    plain = policy().config.to_dict()
    del plain["architectures"]
    config = LlamaConfig(**{**plain, "num_hidden_layers": 1, "num_labels": 1})
    return LlamaForSequenceClassification._from_config(config, attn_implementation="eager")


def texts() -> Dataset:
    return Dataset.from_dict({"text": [words(length, first) for first, length in enumerate(LENGTHS)]})


def prompts(number: int = 4) -> Dataset:
    return Dataset.from_dict({"prompt": [words(3 + first, first) for first in range(number)]})


def preferences(number: int = 4) -> Dataset:
    rows = [{"prompt": words(3 + n, n), "chosen": " " + words(4, n + 9), "rejected": " " + words(6 - n, n + 30)} for n in range(number)]
    return Dataset.from_list(rows)


def judgements(number: int = 4) -> Dataset:
    rows = [{"prompt": words(3 + n, n), "completion": " " + words(4, n + 9), "label": n % 2 == 0} for n in range(number)]
    return Dataset.from_list(rows)


def settings(folder: Path, **changes: Any) -> dict[str, Any]:
    """What every TRL configuration takes here."""
    return {
        "output_dir": str(folder),
        "per_device_train_batch_size": 2,
        "max_steps": 2,
        "report_to": [],
        "use_cpu": True,
        "bf16": False,
        "save_strategy": "no",
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
        **changes,
    }
