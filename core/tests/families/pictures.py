"""Inputs of models that look at pictures, with as many picture tokens in the text as the class expects."""

import torch

from text import tokens


def pixels(config, count):
    side = config.image_size if isinstance(config.image_size, int) else config.image_size[0]
    return torch.randn(count, config.num_channels, side, side)


def image(config, size):
    """Picture classification."""
    labels = torch.randint(0, config.num_labels, (size["sequences"],))
    return {"pixel_values": pixels(config, size["sequences"]), "labels": labels}


def alone(config, size):
    """A tower without a head."""
    return {"pixel_values": pixels(config, size["sequences"])}


def contrast(config, size):
    """As many pictures as texts, held against each other."""
    ids = tokens(config, size)
    return {"input_ids": ids, "pixel_values": pixels(config.vision_config, size["sequences"]), "return_loss": True}


def placed(config, size, token):
    """Text that holds each picture's tokens after one of its own, and no label on them."""
    ids = tokens(config, size)
    each = size["image_tokens"] // size["images"]
    for picture in range(size["images"]):
        start = 1 + picture * (each + 1)
        ids[:, start : start + each] = token
    return {"input_ids": ids, "labels": ids.masked_fill(ids == token, -100)}


def fixed(config, size, token, typed=False):
    """Pictures of the tower's own size, all in one row."""
    batch = placed(config, size, token)
    if typed:
        batch["token_type_ids"] = (batch["input_ids"] == token).long()
    count = size["sequences"] * size["images"]
    return {**batch, "pixel_values": pixels(config.vision_config, count)}


def llava(config, size):
    return fixed(config, size, config.image_token_index)


def typed(config, size):
    return fixed(config, size, config.image_token_index, typed=True)


def internvl(config, size):
    return fixed(config, size, config.image_token_id)


def idefics(config, size):
    batch = fixed(config, size, config.image_token_id)
    values = batch["pixel_values"]
    batch["pixel_values"] = values.view(size["sequences"], size["images"], *values.shape[1:])
    return batch


def tiled(config, size):
    """LLaVA-NeXT: every picture is square, cut in tiles, with an overview before them."""
    batch = placed(config, size, config.image_token_index)
    side = config.vision_config.image_size
    values = pixels(config.vision_config, size["sequences"] * size["tiles"])
    batch["pixel_values"] = values.view(size["sequences"], size["tiles"], *values.shape[1:])
    batch["image_sizes"] = torch.tensor([[2 * side, 2 * side]] * size["sequences"])
    return batch


def sized(config, size):
    """Pixtral: pictures of any size, all of this batch's in one sequence."""
    batch = placed(config, size, config.image_token_index)
    _, rows, columns = size["image_grid"]
    edge = config.vision_config.patch_size
    count = size["sequences"] * size["images"]
    batch["pixel_values"] = torch.randn(count, 3, rows * edge, columns * edge)
    batch["image_sizes"] = torch.tensor([[rows * edge, columns * edge]] * count)
    return batch


def gridded(config, size):
    """Qwen-VL: patches of all pictures in one row, with a grid for each."""
    batch = placed(config, size, config.image_token_id)
    vision = config.vision_config
    grid = torch.tensor([size["image_grid"]] * (size["sequences"] * size["images"]))
    channels = getattr(vision, "in_channels", None) or getattr(vision, "in_chans", 3)
    width = channels * vision.temporal_patch_size * vision.patch_size**2
    batch["pixel_values"] = torch.randn(int(grid.prod(dim=1).sum()), width)
    batch["image_grid_thw"] = grid
    batch["mm_token_type_ids"] = (batch["input_ids"] == config.image_token_id).long()
    return batch


def patched(config, size):
    """Gemma 4: patches of each picture as rows of pixels, with the place of each."""
    batch = placed(config, size, config.image_token_id)
    _, rows, columns = size["image_grid"]
    count, width = size["sequences"] * size["images"], 3 * config.vision_config.patch_size**2
    places = torch.stack(torch.meshgrid(torch.arange(columns), torch.arange(rows), indexing="xy"), dim=-1)
    batch["pixel_values"] = torch.rand(count, rows * columns, width)
    batch["image_position_ids"] = places.view(1, rows * columns, 2).expand(count, -1, -1)
    batch["mm_token_type_ids"] = (batch["input_ids"] == config.image_token_id).long()
    return batch


def mllama(config, size):
    """Llama 3.2 Vision: the text holds one mark per picture and attends to its tiles in a few layers."""
    vision, sequences, images = config.vision_config, size["sequences"], size["images"]
    batch = placed(config, size, config.image_token_index)
    values = pixels(vision, sequences * images * vision.max_num_tiles)
    batch["pixel_values"] = values.view(sequences, images, vision.max_num_tiles, *values.shape[1:])
    batch["aspect_ratio_ids"] = torch.ones(sequences, images, dtype=torch.long)
    batch["aspect_ratio_mask"] = torch.ones(sequences, images, vision.max_num_tiles, dtype=torch.long)
    shape = sequences, size["seq_len"], images, vision.max_num_tiles
    batch["cross_attention_mask"] = torch.ones(shape, dtype=torch.long)
    return batch
