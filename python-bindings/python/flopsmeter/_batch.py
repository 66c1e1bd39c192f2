"""Reads what one call of a model works on, from the shapes of its arguments.

Shapes are known on the host. Values (masks, positions, labels) are read where they are on the host; on a device they are
left to `_arrival`, which never waits.
"""

from __future__ import annotations

import inspect
import sys
import weakref
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch.nn import Module

IGNORED_LABEL = -100

_ASYNCHRONOUS_DEVICES = ("cuda", "xpu")


@dataclass(slots=True)
class Batch:
    """One call. `later` has values that are on a device: the field, the tensor and how the host reads it once it is there."""

    sequences: int
    length: int
    cached_length: int = 0
    cached: bool = False
    """A cache was passed, be it empty."""
    real_tokens: int | None = None
    extras: dict[str, Any] = field(default_factory=dict)
    """Further fields of `Passes`, where they are not what an ordinary pass has."""
    unsized: str | None = None
    """Pictures of which nobody knows how many and how large they are."""
    later: list[tuple[str, torch.Tensor, Callable[[torch.Tensor], Any]]] = field(default_factory=list)


class Reader:
    """Reads the calls of one model."""

    def __init__(self, plain: Module) -> None:
        self._plain = weakref.ref(plain)
        self._names = tuple(inspect.signature(plain.forward).parameters)
        config: Any = getattr(plain, "config", None)
        self._config = config
        self._has_decoder = bool(getattr(config, "is_encoder_decoder", False))

    def read(self, args: tuple[Any, ...], kwargs: dict[str, Any], gradient: bool) -> Batch | None:
        """What the call works on; None if it has nothing that we know."""
        call = {**dict(zip(self._names, args, strict=False)), **kwargs} if args else kwargs
        size = self._size(call)
        if size is None:
            return None
        batch = Batch(*size)
        cache = call.get("past_key_values")
        if self._has_decoder:
            batch.extras["decoder_length"] = _decoder_length(batch, call)
        if cache is not None:
            batch.cached = True
            batch.cached_length = _cached_length(cache, batch.extras.get("decoder_length", batch.length))
            # The first step after an encoder that ran by itself stands for it too.
            if self._has_decoder and batch.cached_length and call.get("encoder_outputs") is not None:
                batch.extras["encoder_skipped"] = True
        mask = call.get("attention_mask")
        self._read_real_tokens(batch, mask, call)
        if mask is None and cache is None:
            _read_packing(batch, call)
        _read_head(batch, call, gradient)
        if "pixel_values" in call or "pixel_values_videos" in call:
            _read_images(batch, call)
        return batch

    def _size(self, call: dict[str, Any]) -> tuple[int, int] | None:
        tokens, dimensions = call.get("input_ids"), 2
        if tokens is None:
            tokens, dimensions = call.get("inputs_embeds"), 3
        if tokens is not None:
            shape: tuple[int, ...] = getattr(tokens, "shape", ())
            return (shape[0], shape[1]) if len(shape) == dimensions else None
        if self._has_decoder:
            return _encoder_size(call)
        return self._patches(call.get("pixel_values"))

    def _patches(self, pixels: Any) -> tuple[int, int] | None:
        """Positions of a vision transformer: a patch each, and the tokens it adds."""
        side = getattr(self._config, "patch_size", None)
        if not isinstance(side, int) or getattr(pixels, "ndim", 0) != 4:
            return None
        added = 0
        plain = self._plain()
        for name, parameter in () if plain is None else plain.named_parameters():
            last = name.rpartition(".")[2]
            if last in ("cls_token", "class_embedding", "distillation_token"):
                added += 1
            elif last == "register_tokens":
                added += parameter.shape[1]
        return pixels.shape[0], (pixels.shape[2] // side) * (pixels.shape[3] // side) + added

    def _read_real_tokens(self, batch: Batch, mask: Any, call: dict[str, Any]) -> None:
        """Without a mask the model attends to every position."""
        real = _real(mask, batch.sequences, batch.length)
        if self._has_decoder and real is not None:
            length = batch.extras["decoder_length"]
            own = call.get("decoder_attention_mask")
            labels = call.get("labels")
            if own is None and isinstance(labels, torch.Tensor) and labels.shape == (batch.sequences, length):
                own = labels != IGNORED_LABEL
            decoded = _real(own, batch.sequences, length)
            real = None if decoded is None else real + decoded
        if isinstance(real, torch.Tensor):
            batch.later.append(("real_tokens", real, int))
        else:
            batch.real_tokens = real

def _encoder_size(call: dict[str, Any]) -> tuple[int, int] | None:
    outputs = call.get("encoder_outputs")
    if outputs is not None:
        shape = outputs[0].shape
        return shape[0], shape[1]
    frames = call.get("input_features")
    # The second convolution of a Whisper encoder halves the frames.
    return None if frames is None or frames.dim() != 3 else (frames.shape[0], frames.shape[2] // 2)


def _decoder_length(batch: Batch, call: dict[str, Any]) -> int:
    for name in ("decoder_input_ids", "decoder_inputs_embeds", "labels"):
        value = call.get(name)
        if isinstance(value, torch.Tensor) and value.dim() >= 2:
            return int(value.shape[1])
    # Classification heads of encoder-decoders feed the decoder what the encoder read.
    return batch.length


def _real(mask: Any, sequences: int, length: int) -> Any:
    """A number, a sum on the device, or None where nothing can be said."""
    if mask is None:
        return sequences * length
    if not isinstance(mask, torch.Tensor) or mask.dim() != 2 or mask.shape[1] < length:
        return None
    own = mask if mask.shape[1] == length else mask[:, -length:]
    if is_on_host(mask):
        real = int(own.sum())
        # Masks that number the documents of a row are no sums of ones.
        return real if real <= sequences * length else int(torch.count_nonzero(own))
    return torch.count_nonzero(own) if can_arrive(mask) else None


def is_on_host(tensor: torch.Tensor) -> bool:
    """Whether its values can be read without waiting."""
    on_host: bool = tensor.is_cpu
    return on_host


def can_arrive(tensor: torch.Tensor) -> bool:
    """Whether a copy to the host can be made without waiting for the device."""
    return tensor.device.type in _ASYNCHRONOUS_DEVICES


def _now_or_later(batch: Batch, name: str, tensor: torch.Tensor, read: Callable[[torch.Tensor], Any]) -> None:
    if is_on_host(tensor):
        value = read(tensor)
        if value:
            batch.extras[name] = batch.extras.get(name, []) + value
    elif can_arrive(tensor):
        batch.later.append((name, tensor, read))


def _histogram(lengths: torch.Tensor) -> list[tuple[int, int]]:
    sizes, counts = torch.unique(lengths, return_counts=True)
    return [(count, size) for size, count in zip(sizes.tolist(), counts.tolist(), strict=True) if size > 0]


def _between_borders(borders: torch.Tensor) -> list[tuple[int, int]]:
    """Lengths between cumulated ones."""
    return _histogram(torch.diff(borders))


def _between_starts(starts: torch.Tensor) -> list[tuple[int, int]]:
    """Lengths between positions of zero; nothing where each row is one sequence."""
    starts = starts.clone()
    starts[:, 0] = True
    if int(starts.sum()) == starts.shape[0]:
        return []
    places = torch.nonzero(starts.reshape(-1)).reshape(-1)
    return _histogram(torch.diff(places, append=places.new_tensor([starts.numel()])))


def _between_changes(numbers: torch.Tensor) -> list[tuple[int, int]]:
    """Lengths between changes of the sequence's number."""
    starts = torch.ones_like(numbers, dtype=torch.bool)
    starts[:, 1:] = numbers[:, 1:] != numbers[:, :-1]
    return _between_starts(starts)


def _grids(grids: torch.Tensor) -> list[tuple[int, list[int]]]:
    rows, counts = torch.unique(grids, dim=0, return_counts=True)
    return list(zip(counts.tolist(), rows.tolist(), strict=True))


def _read_packing(batch: Batch, call: dict[str, Any]) -> None:
    borders = call.get("cu_seq_lens_q")
    if isinstance(borders, torch.Tensor) and borders.dim() == 1:
        _now_or_later(batch, "packed", borders, _between_borders)
        return
    positions = call.get("position_ids")
    if isinstance(positions, torch.Tensor) and positions.dim() >= 2:
        # Rotary positions of several kinds (time, height, width) stand in front of the rows.
        while positions.dim() > 2:
            positions = positions[0]
        if positions.shape[-1] == batch.length:
            _now_or_later(batch, "packed", positions == 0, _between_starts)
        return
    numbers = call.get("seq_idx")
    if isinstance(numbers, torch.Tensor) and numbers.shape == (batch.sequences, batch.length):
        _now_or_later(batch, "packed", numbers, _between_changes)


def _read_head(batch: Batch, call: dict[str, Any], gradient: bool) -> None:
    if call.get("fused_lm_head"):
        _read_fused_head(batch, call, gradient)
        return
    kept = call.get("logits_to_keep")
    if isinstance(kept, torch.Tensor):
        batch.extras["head_positions"] = batch.sequences * kept.numel()
    elif kept:
        batch.extras["head_positions"] = batch.sequences * min(int(kept), batch.length)


def _read_images(batch: Batch, call: dict[str, Any]) -> None:
    images = 0
    for pixels, grids in (("pixel_values", "image_grid_thw"), ("pixel_values_videos", "video_grid_thw")):
        values = call.get(pixels)
        if values is None:
            continue
        grid = call.get(grids)
        if isinstance(grid, torch.Tensor) and grid.dim() == 2:
            images += grid.shape[0]
            _now_or_later(batch, "image_grid", grid, _grids)
        elif isinstance(values, torch.Tensor) and values.dim() >= 4:
            images += values.shape[0] * (values.shape[1] if values.dim() == 5 else 1)
        elif not isinstance(values, torch.Tensor) or values.numel():
            batch.unsized = pixels
    if images:
        batch.extras["images"] = images


def _read_fused_head(batch: Batch, call: dict[str, Any], gradient: bool) -> None:
    """TRL's head (`add_fused_lm_head`): tiles of logits that the backward pass makes again, never all of them."""
    if gradient:
        batch.extras["head_recomputed"] = True
    labels, shifted = call.get("shift_labels"), True
    if labels is None:
        labels, shifted = call.get("labels"), False
    scored = batch.length if shifted else batch.length - 1
    batch.extras["head_positions"] = batch.sequences * scored
    if isinstance(labels, torch.Tensor) and _leaves_out_ignored(labels.device) and can_arrive(labels):
        own = labels if shifted else labels[:, 1:]
        batch.later.append(("head_positions", torch.count_nonzero(own != IGNORED_LABEL), int))


def _leaves_out_ignored(device: torch.device) -> bool:
    """Whether the head skips positions without a label there, as it says of itself."""
    kernels = sys.modules.get("trl.kernels.chunked_logprob")
    uses_triton = getattr(kernels, "_use_triton", None)
    return bool(uses_triton(device)) if uses_triton is not None else False


def _cached_length(cache: Any, length: int) -> int:
    """Positions of the cache besides the pass's own; a static cache is always multiplied in full."""
    if isinstance(cache, (tuple, list)):
        return int(cache[0][0].shape[-2]) if cache else 0
    if getattr(cache, "is_compileable", False):
        return max(int(cache.get_max_length()) - length, 0)
    return int(cache.get_seq_length())
