"""Models that no configuration describes, with the layers of those that people train."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as functional
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


class Perceptron(nn.Module):
    """Vectors in, vectors out."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(20, 30)
        self.outer = nn.Linear(30, 10)

    def forward(self, values: Tensor) -> Tensor:
        return self.outer(functional.gelu(self.inner(values)))


def _angles(times: Tensor) -> Tensor:
    rates = torch.exp(-torch.arange(0, 8, device=times.device) / 8.0)
    angles = times[:, None].float() * rates
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


class DiffusionBlock(nn.Module):
    """Attention and a feed-forward part, each scaled and shifted by what the time and the class say."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, elementwise_affine=False)
        self.norm2 = nn.LayerNorm(width, elementwise_affine=False)
        self.attn = nn.MultiheadAttention(width, 4, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(approximate="tanh"), nn.Linear(4 * width, width))
        self.modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        shift1, scale1, gate1, shift2, scale2, gate2 = self.modulation(condition)[:, None].chunk(6, dim=2)
        inner = self.norm1(x) * (1 + scale1) + shift1
        x = x + gate1 * self.attn(inner, inner, inner, need_weights=False)[0]
        return x + gate2 * self.mlp(self.norm2(x) * (1 + scale2) + shift2)


class DiffusionTransformer(nn.Module):
    """Patches of a latent picture through blocks, as in DiT (<https://arxiv.org/abs/2212.09748>)."""

    def __init__(self, use_reentrant: bool | None = None, width: int = 32) -> None:
        super().__init__()
        self.patches = nn.Conv2d(4, width, 2, 2)
        self.time = nn.Sequential(nn.Linear(16, width), nn.SiLU(), nn.Linear(width, width))
        self.classes = nn.Embedding(11, width)
        self.blocks = nn.ModuleList([DiffusionBlock(width) for _ in range(2)])
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, 2 * 2 * 4)
        self._use_reentrant = use_reentrant

    def forward(self, latents: Tensor, times: Tensor, labels: Tensor) -> Tensor:
        batch, _, height, width = latents.shape
        condition = self.time(_angles(times)) + self.classes(labels)
        x = self.patches(latents).flatten(2).transpose(1, 2)
        for block in self.blocks:
            x = _run(block, x, condition, use_reentrant=self._use_reentrant)
        x = self.out(self.norm(x)).view(batch, height // 2, width // 2, 2, 2, 4)
        return torch.einsum("nhwpqc->nchpwq", x).reshape(batch, 4, height, width)


def _run(function: Any, *inputs: Any, use_reentrant: bool | None) -> Any:
    if use_reentrant is None:
        return function(*inputs)
    return checkpoint(function, *inputs, use_reentrant=use_reentrant)


class Residual(nn.Module):
    """Two convolutions with the time between them."""

    def __init__(self, inputs: int, outputs: int, times: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(4, inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.time = nn.Linear(times, outputs)
        self.norm2 = nn.GroupNorm(4, outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor, times: Tensor) -> Tensor:
        inner = self.conv1(functional.silu(self.norm1(x))) + self.time(functional.silu(times))[:, :, None, None]
        return self.skip(x) + self.conv2(functional.silu(self.norm2(inner)))


class Attention(nn.Module):
    """Over the picture itself, or over a text beside it."""

    def __init__(self, width: int, context: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_k = nn.Linear(context, width, bias=False)
        self.to_v = nn.Linear(context, width, bias=False)
        self.to_out = nn.Linear(width, width)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        own = self.norm(x)
        other = own if context is None else context
        query, key, value = (
            module(values).unflatten(-1, (4, -1)).transpose(1, 2)
            for module, values in ((self.to_q, own), (self.to_k, other), (self.to_v, other))
        )
        weights = torch.softmax(query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5, dim=-1)
        return x + self.to_out((weights @ value).transpose(1, 2).flatten(2))


class UNet(nn.Module):
    """Down, across and up again with skip connections, as Stable Diffusion's (<https://arxiv.org/abs/2112.10752>)."""

    def __init__(self, use_reentrant: bool | None = None, width: int = 16, context: int = 24) -> None:
        super().__init__()
        times = 4 * width
        self.time = nn.Sequential(nn.Linear(16, times), nn.SiLU(), nn.Linear(times, times))
        self.inward = nn.Conv2d(4, width, 3, padding=1)
        self.down1 = Residual(width, width, times)
        self.halve = nn.Conv2d(width, width, 3, 2, 1)
        self.down2 = Residual(width, 2 * width, times)
        self.attn1 = Attention(2 * width, 2 * width)
        self.attn2 = Attention(2 * width, context)
        self.middle = Residual(2 * width, 2 * width, times)
        self.up2 = Residual(4 * width, 2 * width, times)
        self.widen = nn.ConvTranspose2d(2 * width, 2 * width, 4, 2, 1)
        self.up1 = Residual(3 * width, width, times)
        self.outward = nn.Conv2d(width, 4, 3, padding=1)
        self._use_reentrant = use_reentrant

    def forward(self, sample: Tensor, timestep: Tensor, encoder_hidden_states: Tensor) -> Tensor:
        def run(function: Any, *inputs: Any) -> Any:
            return _run(function, *inputs, use_reentrant=self._use_reentrant)

        times = self.time(_angles(timestep))
        first = run(self.down1, self.inward(sample), times)
        x = run(self.down2, self.halve(first), times)
        size = x.shape[2:]
        x = run(self.attn2, run(self.attn1, x.flatten(2).transpose(1, 2)), encoder_hidden_states)
        second = x.transpose(1, 2).unflatten(2, size)
        x = run(self.up2, torch.cat([run(self.middle, second, times), second], dim=1), times)
        x = run(self.up1, torch.cat([self.widen(x), first], dim=1), times)
        return self.outward(functional.silu(x))
