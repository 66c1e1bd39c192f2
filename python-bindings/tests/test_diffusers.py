"""Diffusion models as diffusers builds them are counted from their inventory, equal to PyTorch's own operation counter."""

from __future__ import annotations

import json
from typing import Any

import peft
import pytest
import torch
from diffusers import FluxTransformer2DModel, SD3Transformer2DModel, UNet2DConditionModel
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from flopsmeter import _example_inputs, _facts, _flopsmeter

Call = dict[str, Any]


def unet(**changes: Any) -> Any:
    return UNet2DConditionModel(
        sample_size=16,
        block_out_channels=(16, 32),
        layers_per_block=1,
        norm_num_groups=8,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=24,
        attention_head_dim=8,
        **changes,
    )


def stable_diffusion() -> tuple[Any, Call]:
    """As Stable Diffusion 1.5."""
    call = {"sample": torch.randn(2, 4, 16, 16), "timestep": torch.randint(0, 9, (2,))}
    return unet(), {**call, "encoder_hidden_states": torch.randn(2, 7, 24)}


def stable_diffusion_xl() -> tuple[Any, Call]:
    model = unet(
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=20 + 6 * 8,
        transformer_layers_per_block=(1, 2),
    )
    conditions = {"text_embeds": torch.randn(2, 20), "time_ids": torch.randn(2, 6)}
    return model, {**stable_diffusion()[1], "added_cond_kwargs": conditions}


def stable_diffusion_3() -> tuple[Any, Call]:
    model = SD3Transformer2DModel(
        sample_size=16,
        patch_size=2,
        in_channels=4,
        out_channels=4,
        num_layers=2,
        attention_head_dim=8,
        num_attention_heads=4,
        joint_attention_dim=24,
        caption_projection_dim=32,
        pooled_projection_dim=20,
    )
    call = {"hidden_states": torch.randn(2, 4, 16, 16), "encoder_hidden_states": torch.randn(2, 7, 24)}
    return model, {**call, "pooled_projections": torch.randn(2, 20), "timestep": torch.randint(0, 9, (2,))}


def flux() -> tuple[Any, Call]:
    model = FluxTransformer2DModel(
        patch_size=1,
        in_channels=4,
        num_layers=1,
        num_single_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=24,
        pooled_projection_dim=20,
        axes_dims_rope=(4, 4, 8),
    )
    call = {"hidden_states": torch.randn(2, 16, 4), "encoder_hidden_states": torch.randn(2, 7, 24)}
    places = {"img_ids": torch.randn(16, 3), "txt_ids": torch.randn(7, 3)}
    return model, {**call, **places, "pooled_projections": torch.randn(2, 20), "timestep": torch.rand(2)}


def everything(model: Any) -> Any:
    return model


def low_rank(model: Any) -> Any:
    """As the training scripts of diffusers do; of the U-Nets the convolutions too."""
    settings = peft.LoraConfig(r=4, target_modules=["to_q", "to_k", "to_v", "to_out.0", "conv1", "conv_in"])
    model.add_adapter(settings)
    return model


def checkpointed(model: Any) -> Any:
    model.enable_gradient_checkpointing()
    return model


@pytest.mark.parametrize("method", [everything, low_rank, checkpointed])
@pytest.mark.parametrize("build", [stable_diffusion, stable_diffusion_xl, stable_diffusion_3, flux])
def test_difference_is_zero(build: Any, method: Any) -> None:
    torch.manual_seed(0)
    model, call = build()
    if method is low_rank:
        model.requires_grad_(False)
    model = method(model.train())
    # The fused kernel for processors forms the scores again in its backward pass.
    with FlopCounterMode(display=False) as reference, sdpa_kernel(SDPBackend.MATH):
        model(**call).sample.sum().backward()
    facts = _facts.read(model, 0, ((), call))
    sequences, length = _example_inputs.measure(model, (), call) or (0, 0)
    row = {"phase": "training", "gradient": True, "sequences": sequences, "length": length, "count": 1, "real_tokens": None}
    counted = json.loads(_flopsmeter.count(facts.to_json(), json.dumps([row])))
    assert int(counted["executed"]) - reference.get_total_flops() == 0
    assert reference.get_total_flops() > 0
    assert facts.findings == [] and counted["findings"] == []
    assert counted["parameters_total"] == facts.message["parameters_total"]
    assert counted["parameters_trainable"] == facts.message["parameters_trainable"] > 0
    assert (int(counted["recompute"]) > 0) == (method is checkpointed)
