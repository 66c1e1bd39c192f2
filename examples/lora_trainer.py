"""Fine-tunes a small language model with `transformers.Trainer` and peft, on a CPU, without the network.

An ordinary training script: it knows nothing of flopsmeter. To have it metered:

    flopsmeter run --base examples/tiny-base.toml --progress 10s -- python examples/lora_trainer.py

The model has random weights and the tokenizer is trained on the spot, so that no model hub is needed.
"""

import argparse
from pathlib import Path

import tiny_model
from peft import LoraConfig, get_peft_model
from transformers import DataCollatorForLanguageModeling, Trainer, TrainingArguments, set_seed

SEED = 11


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--method", choices=["lora", "full"], default="lora")
    parser.add_argument("--gradient-checkpointing", action="store_true")
    parser.add_argument("--max-steps", type=int, default=100)
    parser.add_argument("--output", type=Path, default=Path("out/lora_trainer"))
    options = parser.parse_args()

    set_seed(SEED)
    text = tiny_model.TEXT.read_text(encoding="utf-8")
    tokenizer = tiny_model.train_tokenizer(text.splitlines())
    paragraphs = [paragraph for paragraph in text.split("\n\n") if paragraph.strip()]
    rows = [tokenizer(paragraph, truncation=True, max_length=tiny_model.LONGEST) for paragraph in paragraphs]
    held_out, training = rows[:8], rows[8:]

    model = tiny_model.build_model(tokenizer, width=256, layers=6)
    if options.method == "lora":
        model = get_peft_model(
            model, LoraConfig(r=16, lora_alpha=32, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
        )
        model.print_trainable_parameters()

    trainer = Trainer(
        model=model,
        args=TrainingArguments(
            output_dir=str(options.output),
            max_steps=options.max_steps,
            per_device_train_batch_size=4,
            gradient_accumulation_steps=2,
            per_device_eval_batch_size=4,
            learning_rate=1e-3,
            gradient_checkpointing=options.gradient_checkpointing,
            eval_strategy="steps",
            eval_steps=25,
            logging_steps=25,
            save_strategy="no",
            report_to=[],
            use_cpu=True,
            seed=SEED,
            disable_tqdm=True,
            dataloader_pin_memory=False,
        ),
        train_dataset=training,
        eval_dataset=held_out,
        data_collator=DataCollatorForLanguageModeling(tokenizer, mlm=False),
    )
    trainer.train()


if __name__ == "__main__":
    main()
