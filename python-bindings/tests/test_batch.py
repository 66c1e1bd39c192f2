"""Shapes are read out of every kind of call, and values on a device arrive without being waited for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from models import llama
from receiver import Receiver
from transformers import AutoConfig, AutoModelForSeq2SeqLM, ViTConfig, ViTForImageClassification, WhisperConfig
from transformers import WhisperForConditionalGeneration

import flopsmeter
from flopsmeter import _arrival, _batch

IDS = torch.ones((1, 7), dtype=torch.long)


def rows(receiver: Receiver) -> list[dict[str, Any]]:
    return [row for fed in receiver.messages("fed") for row in fed["passes"]]


def lengths(row: dict[str, Any]) -> dict[int, int]:
    return {part["length"]: part["count"] for part in row.get("packed", [])}


@pytest.mark.parametrize(
    "told",
    [
        {"position_ids": torch.tensor([[0, 1, 2, 0, 1, 2, 0]])},
        {"position_ids": torch.tensor([[0, 1, 2, 0, 1, 2, 0]]).expand(3, 1, 7)},
        {"cu_seq_lens_q": torch.tensor([0, 3, 6, 7])},
        {"seq_idx": torch.tensor([[0, 0, 0, 1, 1, 1, 2]])},
    ],
    ids=["positions", "positions of three kinds", "cumulated lengths", "numbers"],
)
def test_true_lengths_of_packed_rows(told: dict[str, torch.Tensor]) -> None:
    batch = _batch.Reader(llama()).read((), {"input_ids": IDS, **told}, True)
    assert batch is not None and sorted(batch.extras["packed"]) == [(1, 1), (2, 3)]
    assert batch.real_tokens == 7


@pytest.mark.parametrize("positions", [torch.arange(7)[None], torch.arange(7).expand(4, 7), torch.arange(3, 10)[None]])
def test_rows_of_one_sequence_are_not_packed(positions: torch.Tensor) -> None:
    ids = IDS.expand(positions.shape[0], 7)
    batch = _batch.Reader(llama()).read((), {"input_ids": ids, "position_ids": positions}, True)
    assert batch is not None and not batch.extras


def test_a_mask_says_that_rows_are_not_packed() -> None:
    told = {"input_ids": IDS, "position_ids": torch.tensor([[0, 0, 0, 0, 1, 2, 3]]), "attention_mask": torch.ones_like(IDS)}
    batch = _batch.Reader(llama()).read((), told, True)
    assert batch is not None and not batch.extras


def test_document_numbers_in_a_mask_are_real_tokens() -> None:
    batch = _batch.Reader(llama()).read((), {"input_ids": IDS, "attention_mask": torch.tensor([[1, 1, 2, 2, 3, 0, 0]])}, True)
    assert batch is not None and batch.real_tokens == 5


def test_a_head_at_some_positions(receiver: Receiver) -> None:
    model = llama()
    with flopsmeter.Meter(model):
        model(input_ids=IDS, logits_to_keep=2)
        model(input_ids=IDS, logits_to_keep=torch.tensor([1, 3, 5]))
        model(input_ids=IDS)
    receiver.wait()
    assert [(row.get("head_positions"), row["count"]) for row in rows(receiver)] == [(None, 1), (5, 2)]


def test_an_encoder_and_its_decoder(receiver: Receiver) -> None:
    config = AutoConfig.for_model("t5", vocab_size=50, d_model=16, d_ff=16, d_kv=8, num_layers=1, num_heads=2, decoder_start_token_id=0)
    model = AutoModelForSeq2SeqLM.from_config(config)
    labels = torch.tensor([[3, 4, 5, -100]])
    with flopsmeter.Meter(model):
        model(input_ids=IDS, attention_mask=torch.tensor([[1, 1, 1, 1, 1, 0, 0]]), labels=labels)
        model.generate(IDS, max_new_tokens=2, min_new_tokens=2, do_sample=False)
    receiver.wait()
    training, *generation = sorted(rows(receiver), key=lambda row: row["phase"] != "training")
    assert (training["length"], training["decoder_length"], training["real_tokens"]) == (7, 4, 5 + 3)
    first, second = sorted(generation, key=lambda row: row.get("cached_length", 0))
    assert (first["length"], first["decoder_length"], first.get("encoder_skipped", False)) == (7, 1, False)
    assert (second["decoder_length"], second["cached_length"], second["encoder_skipped"]) == (1, 1, True)


def test_frames_and_patches_are_positions_too() -> None:
    small = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2, "decoder_attention_heads": 2}
    whisper = WhisperForConditionalGeneration(WhisperConfig(vocab_size=60, **small, pad_token_id=0, bos_token_id=1, eos_token_id=2))
    heard = _batch.Reader(whisper).read((), {"input_features": torch.zeros(2, 80, 3000), "labels": IDS.expand(2, 7)}, True)
    assert heard is not None and (heard.sequences, heard.length, heard.extras["decoder_length"]) == (2, 1500, 7)
    vit = ViTForImageClassification(ViTConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16))
    seen = _batch.Reader(vit).read((torch.zeros(3, 3, 224, 224),), {}, True)
    assert seen is not None and (seen.sequences, seen.length, seen.extras["images"]) == (3, 197, 3)


def test_images_of_several_sizes() -> None:
    class Looking(torch.nn.Module):
        def forward(self, input_ids: Any = None, pixel_values: Any = None, image_grid_thw: Any = None) -> None:
            return None

    grids = torch.tensor([[1, 4, 6], [1, 2, 2], [1, 4, 6]])
    told = {"input_ids": IDS, "pixel_values": torch.zeros(52, 12), "image_grid_thw": grids}
    batch = _batch.Reader(Looking()).read((), told, True)
    assert batch is not None and batch.extras["images"] == 3
    assert sorted(batch.extras["image_grid"]) == [(1, [1, 2, 2]), (2, [1, 4, 6])]
    tiles = _batch.Reader(Looking()).read((), {"input_ids": IDS, "pixel_values": torch.zeros(2, 5, 3, 8, 8)}, True)
    assert tiles is not None and tiles.extras == {"images": 10}


class Device:
    """A device whose copies arrive when the test says so: tensors of the host that must not be read before."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.arrived = False
        self.copies = 0
        monkeypatch.setattr(_batch, "can_arrive", lambda tensor: True)
        monkeypatch.setattr(_batch, "is_on_host", lambda tensor: False)
        monkeypatch.setattr(_arrival, "ship", self.ship)
        monkeypatch.setattr(_arrival, "_SHIP_INTERVAL_SECONDS", 0.0)
        monkeypatch.setattr(_arrival, "_LAST_PATIENCE_SECONDS", 0.0)

    def ship(self, values: list[torch.Tensor]) -> tuple[list[torch.Tensor], Any]:
        self.copies += 1
        return values, lambda: self.arrived


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Iterator[Device]:
    yield Device(monkeypatch)


MASKED = {"input_ids": IDS, "attention_mask": torch.tensor([[1, 1, 1, 1, 1, 0, 0]])}


def test_sums_on_a_device_are_added_there_and_told_when_they_arrive(receiver: Receiver, device: Device) -> None:
    model = llama()
    with flopsmeter.Meter(model) as meter:
        for _ in range(3):
            model(**MASKED)
        meter.step()
        meter.step()
        assert device.copies == 1
        assert not receiver.messages("fed")
        device.arrived = True
    receiver.wait()
    assert [(row["count"], row["real_tokens"]) for row in rows(receiver)] == [(3, 15)]


def test_what_never_arrives_is_told_without_its_sum(receiver: Receiver, device: Device) -> None:
    model = llama()
    with flopsmeter.Meter(model) as meter:
        model(**MASKED)
        meter.step()
        model(**MASKED)
    receiver.wait()
    assert [(row["count"], row["real_tokens"]) for row in rows(receiver)] == [(2, None)]


def test_passes_that_wait_are_bounded(receiver: Receiver, device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_arrival, "MAXIMUM_WAITING", 2)
    model = llama()
    with flopsmeter.Meter(model) as meter:
        for length in (3, 4, 5, 6):
            model(input_ids=IDS[:, :length], attention_mask=torch.ones((1, length), dtype=torch.long))
        meter.step()
        device.arrived = True
    receiver.wait()
    assert {row["length"]: row["real_tokens"] for row in rows(receiver)} == {3: 3, 4: 4, 5: None, 6: None}


def test_packed_lengths_arrive_too(receiver: Receiver, device: Device) -> None:
    model = llama()
    with flopsmeter.Meter(model) as meter:
        for positions in ([0, 1, 2, 0, 1, 2, 0], [0, 1, 2, 3, 0, 1, 2]):
            model(input_ids=IDS, position_ids=torch.tensor([positions]), use_cache=False)
        device.arrived = True
        meter.step()
    receiver.wait()
    (row,) = rows(receiver)
    assert (row["count"], lengths(row)) == (2, {1: 1, 3: 3, 4: 1})


def test_passes_on_their_way_stay_with_what_was_described_before(receiver: Receiver, device: Device) -> None:
    model = llama()
    with flopsmeter.Meter(model) as meter:
        model(**MASKED)
        meter._watch._checked = 0.0  # type: ignore[union-attr]
        model.model.layers[0].requires_grad_(False)
        meter.step()
        model(**MASKED)
        device.arrived = True
    receiver.wait()
    numbers = [facts["model"] for facts in receiver.models()]
    assert len(set(numbers)) == 2
    assert [receiver.passes(number) for number in numbers] == [{("training", True, 1, 7, 0): 1}] * 2


def test_pictures_that_cannot_be_sized_are_a_finding(receiver: Receiver) -> None:
    class Looking(torch.nn.Module):
        def forward(self, input_ids: torch.Tensor, pixel_values: Any = None, image_grid_thw: Any = None) -> torch.Tensor:
            return input_ids

    pixels = torch.zeros(16, 12)
    for unknown in (pixels, pixels[None], [torch.zeros(3, 8, 8)]):
        batch = _batch.Reader(Looking()).read((), {"input_ids": IDS, "pixel_values": unknown}, True)
        assert batch is not None and batch.unsized == "pixel_values"
    grid = torch.tensor([[1, 4, 4]])
    for known in ({"image_grid_thw": grid}, {"pixel_values": None}, {"pixel_values": torch.zeros(0, 12)}):
        batch = _batch.Reader(Looking()).read((), {"input_ids": IDS, "pixel_values": pixels, **known}, True)
        assert batch is not None and batch.unsized is None
    model = llama()
    plain = model.forward
    model.forward = lambda input_ids, pixel_values=None: plain(input_ids=input_ids)
    with flopsmeter.Meter(model):
        model(input_ids=IDS, pixel_values=pixels)
    receiver.wait()
    assert receiver.findings() == {"images-not-sized"}
