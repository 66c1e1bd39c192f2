"""Supervised fine-tuning with TRL, packed or padded, on a CPU, without the network.

An ordinary training script: it knows nothing of flopsmeter. To have it metered:

    flopsmeter run --base examples/tiny-base.toml -- python examples/sft_trainer.py --packing

Packed rows are told with the true lengths of the sequences in them, padded ones with their real tokens.
"""

import argparse
from pathlib import Path

import tiny_model
from datasets import Dataset
from transformers import set_seed
from trl import SFTConfig, SFTTrainer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--packing", action="store_true")
    parser.add_argument("--max-steps", type=int, default=30)
    parser.add_argument("--output", type=Path, default=Path("out/sft_trainer"))
    options = parser.parse_args()

    set_seed(11)
    tokenizer = tiny_model.train_tokenizer(tiny_model.sentences())
    trainer = SFTTrainer(
        model=tiny_model.build_model(tokenizer),
        args=SFTConfig(
            packing=options.packing,
            max_length=tiny_model.LONGEST,
            **tiny_model.settings(options.output, options.max_steps),
        ),
        train_dataset=Dataset.from_dict({"text": tiny_model.sentences()}),
        processing_class=tokenizer,
    )
    trainer.train()


if __name__ == "__main__":
    main()
