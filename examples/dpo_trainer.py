"""Preference training (DPO) with TRL, with a LoRA adapter or a second model as reference, on a CPU, without the network.

An ordinary training script: it knows nothing of flopsmeter. To have it metered:

    flopsmeter run --base examples/tiny-base.toml -- python examples/dpo_trainer.py --method lora

The passes of the reference stand apart: whether they count is debatable, so that the verdict is formed both ways. With an
adapter the reference is the same model with the adapter off, and its two small products are not counted there.
"""

import argparse
from pathlib import Path

import tiny_model
from datasets import Dataset
from peft import LoraConfig
from transformers import set_seed
from trl import DPOConfig, DPOTrainer


def preferences() -> Dataset:
    """The second half of each sentence is preferred to that of the next sentence."""
    halves = [sentence.split(", ", 1) for sentence in tiny_model.sentences() if ", " in sentence]
    pairs = zip(halves, halves[1:] + halves[:1], strict=True)
    rows = [{"prompt": f"{own[0]},", "chosen": f" {own[1]}", "rejected": f" {other[1]}"} for own, other in pairs]
    return Dataset.from_list(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--method", choices=["lora", "full"], default="lora")
    parser.add_argument("--max-steps", type=int, default=20)
    parser.add_argument("--output", type=Path, default=Path("out/dpo_trainer"))
    options = parser.parse_args()

    set_seed(11)
    tokenizer = tiny_model.train_tokenizer(tiny_model.sentences())
    model = tiny_model.build_model(tokenizer)
    adapters = LoraConfig(r=8, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    reference = None
    if options.method == "full":
        reference = tiny_model.build_model(tokenizer)
        reference.load_state_dict(model.state_dict())
    trainer = DPOTrainer(
        model=model,
        ref_model=reference,
        args=DPOConfig(**tiny_model.settings(options.output, options.max_steps)),
        train_dataset=preferences(),
        processing_class=tokenizer,
        peft_config=adapters if options.method == "lora" else None,
    )
    trainer.train()


if __name__ == "__main__":
    main()
