"""Work whose operations are known: each prints one line of JSON with what it did."""

from __future__ import annotations

import argparse
import json
import sys
import time

import torch

FORMATS = ("bf16", "fp16", "tf32", "fp32", "fp64", "fp8")


def matmul(format_name: str, device: str, size: int, seconds: float) -> dict[str, object]:
    """Square products for so long; 2 * size^3 operations each."""
    torch.backends.cuda.matmul.allow_tf32 = format_name == "tf32"
    multiply = product(format_name, device, size)
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    multiply()
    wait()
    # The one before is counted too: the meter has seen it.
    products, begun = 1, time.monotonic()
    while time.monotonic() - begun < seconds:
        for _ in range(8):
            multiply()
        products += 8
        wait()
    elapsed = time.monotonic() - begun
    return {"flop": products * 2 * size**3, "seconds": elapsed, "products": products}


def product(format_name: str, device: str, size: int):
    if format_name == "fp8":
        left = torch.randn(size, size, device=device).to(torch.float8_e4m3fn)
        right = torch.randn(size, size, device=device).to(torch.float8_e4m3fn).t()
        one = torch.ones((), device=device)
        return lambda: torch._scaled_mm(left, right, scale_a=one, scale_b=one, out_dtype=torch.bfloat16)
    kind = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp64": torch.float64}.get(format_name, torch.float32)
    left, right = (torch.randn(size, size, device=device, dtype=kind) for _ in range(2))
    return lambda: left @ right


def fine_tune(method: str, device: str, steps: int, layers: int, seconds: float) -> dict[str, object]:
    """A Llama with random weights through transformers' Trainer, counted by PyTorch's own counter at the same time."""
    from torch.utils.flop_counter import FlopCounterMode
    from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments

    width = 2048 if device == "cuda" else 64
    config = LlamaConfig(
        hidden_size=width, intermediate_size=4 * width, num_hidden_layers=layers, num_attention_heads=width // 64,
        num_key_value_heads=max(1, width // 256), vocab_size=32_000 if device == "cuda" else 512,
    )
    # PyTorch's counter books a fused kernel's own recomputation of the scores as backward work; eager attention has none.
    config._attn_implementation = "eager"
    torch.manual_seed(0)
    model = LlamaForCausalLM(config).to(torch.bfloat16 if device == "cuda" else torch.float32)
    if method == "lora":
        from peft import LoraConfig, get_peft_model

        model = get_peft_model(model, LoraConfig(r=16, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"))
    # A GPU of 16 GB holds it: 4 GB are kept for the backward pass, 3 GB are weights, gradients and moments, and the loss takes
    # copies of 4096 x 32,000 scores. Eager attention keeps 7 bytes for each pair of positions, head and layer: longer texts do not fit.
    batch, length = (8, 512) if device == "cuda" else (2, 64)
    row = torch.randint(config.vocab_size, (length,))
    data = [{"input_ids": row, "labels": row}] * (batch * min(steps, 1000))
    arguments = TrainingArguments(
        output_dir="trainer", per_device_train_batch_size=batch, max_steps=steps, save_strategy="no", report_to=[],
        bf16=device == "cuda", use_cpu=device != "cuda", logging_strategy="no", disable_tqdm=True,
    )
    trainer = Trainer(model=model, args=arguments, train_dataset=data, callbacks=[stop_after(seconds)])
    with FlopCounterMode(display=False) as counter:
        trainer.train()
    return {"flop": counter.get_total_flops(), "steps": trainer.state.global_step}


def stop_after(seconds: float):
    """Ends a training at the first step that is done so long after its start."""
    from transformers import TrainerCallback

    class StopAfter(TrainerCallback):
        def on_train_begin(self, args, state, control, **kwargs):
            self.begun = time.monotonic()

        def on_step_end(self, args, state, control, **kwargs):
            control.should_training_stop |= time.monotonic() - self.begun >= seconds

    return StopAfter()


def probe() -> dict[str, object]:
    """What PyTorch sees. The UUID is that of the first GPU in CUDA's own order."""
    if not torch.cuda.is_available():
        return {"gpus": 0}
    properties = torch.cuda.get_device_properties(0)
    uuid = getattr(properties, "uuid", None)
    return {
        "gpus": torch.cuda.device_count(),
        "uuid": None if uuid is None else str(uuid).removeprefix("GPU-"),
        "name": properties.name,
        "capability": torch.cuda.get_device_capability(0),
    }


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    kinds = parser.add_subparsers(dest="kind", required=True)
    one = kinds.add_parser("matmul")
    one.add_argument("format", choices=FORMATS)
    one.add_argument("--size", type=int, default=8192)
    one.add_argument("--seconds", type=float, default=20.0)
    two = kinds.add_parser("fine-tune")
    two.add_argument("method", choices=("full", "lora"))
    two.add_argument("--steps", type=int, default=100_000, help="at most")
    two.add_argument("--layers", type=int, default=4)
    # 10^15 operations and more on an H100 or H200, so that what L3 charges at both ends of the job weighs little.
    two.add_argument("--seconds", type=float, default=30.0)
    kinds.add_parser("probe")
    arguments = parser.parse_args()
    if arguments.kind == "probe":
        done = probe()
    elif arguments.kind == "matmul":
        done = matmul(arguments.format, arguments.device, arguments.size, arguments.seconds)
    else:
        done = fine_tune(arguments.method, arguments.device, arguments.steps, arguments.layers, arguments.seconds)
    print(json.dumps(done))
    return 0


if __name__ == "__main__":
    sys.exit(main())
