"""Inputs and sizes of text models."""

import torch

SIZES = [{"sequences": 2, "seq_len": 9}, {"sequences": 1, "seq_len": 16}, {"sequences": 3, "seq_len": 5}]


def tokens(config, size, key="seq_len"):
    vocabulary = getattr(config.get_text_config(), "vocab_size", 96)
    return torch.randint(3, vocabulary - 8, (size["sequences"], size[key]))


def language(config, size):
    ids = tokens(config, size)
    return {"input_ids": ids, "labels": ids}


def classes(config, size):
    labels = torch.randint(0, config.num_labels, (size["sequences"],))
    return {"input_ids": tokens(config, size), "labels": labels}
