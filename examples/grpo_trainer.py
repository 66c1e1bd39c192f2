"""Reinforcement training (GRPO) with TRL, on a CPU, without the network.

An ordinary training script: it knows nothing of flopsmeter. To have it metered:

    flopsmeter run --base examples/tiny-base.toml -- python examples/grpo_trainer.py

The samples that are drawn (rollouts), the scoring of them and the training passes stand apart in the run's summary. They are
told apart by what the trainer is doing, because it draws its samples in training mode.
"""

import argparse
from pathlib import Path

import tiny_model
from datasets import Dataset
from transformers import set_seed
from trl import GRPOConfig, GRPOTrainer


def rewards_vowels(completions: list[str], **_: object) -> list[float]:
    """A reward that needs no model: the share of vowels."""
    return [sum(letter in "aeiou" for letter in text) / max(len(text), 1) for text in completions]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--max-steps", type=int, default=8)
    parser.add_argument("--output", type=Path, default=Path("out/grpo_trainer"))
    options = parser.parse_args()

    set_seed(11)
    tokenizer = tiny_model.train_tokenizer(tiny_model.sentences())
    prompts = [" ".join(sentence.split()[:5]) for sentence in tiny_model.sentences()]
    trainer = GRPOTrainer(
        model=tiny_model.build_model(tokenizer),
        reward_funcs=rewards_vowels,
        args=GRPOConfig(
            num_generations=4,
            num_iterations=2,
            max_completion_length=16,
            **tiny_model.settings(options.output, options.max_steps),
        ),
        train_dataset=Dataset.from_dict({"prompt": prompts}),
        processing_class=tokenizer,
    )
    trainer.train()


if __name__ == "__main__":
    main()
