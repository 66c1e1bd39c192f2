"""A plain PyTorch loop, metered by hand with `flopsmeter.Meter`; works with and without `flopsmeter run`."""

import torch
from transformers import LlamaConfig, LlamaForCausalLM

import flopsmeter

STEPS = 20


def main() -> None:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=256, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4
    )
    model = LlamaForCausalLM(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)

    with flopsmeter.Meter(model, max_steps=STEPS) as meter:
        for _ in range(STEPS):
            tokens = torch.randint(0, config.vocab_size, (4, 32))
            loss = model(input_ids=tokens, labels=tokens).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            meter.step()
    print(f"last loss {loss.item():.3f}")


if __name__ == "__main__":
    main()
