"""Through real trainers, each with PyTorch's operation counter around it: the difference is zero, and every pass has its phase."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import peft
import pytest
import trl
import trl_jobs
from models import llama, sequences, trainer
from oracle import counter, executed, findings
from receiver import Receiver
from trl.experimental import cpo, gkd, orpo
from trl_jobs import settings

import flopsmeter

LORA = {"r": 4, "target_modules": ["q_proj", "v_proj"], "task_type": "CAUSAL_LM"}


def callbacks() -> list[Any]:
    return [flopsmeter.FlopsMeterCallback()]


def run(job: Any, receiver: Receiver) -> dict[str, int]:
    """Trains under the counter and holds the two against each other."""
    with counter() as reference:
        job.train()
    receiver.wait()
    counted = executed(receiver)
    assert sum(counted.values()) - reference.get_total_flops() == 0, counted
    assert findings(receiver) == set()
    assert not job.model._forward_pre_hooks
    return counted


def test_a_plain_trainer_that_accumulates_evaluates_and_resumes(receiver: Receiver, tmp_path: Path) -> None:
    settings = {
        "gradient_accumulation_steps": 2,
        "eval_strategy": "epoch",
        "evaluation": sequences([6, 4]),
        "save_strategy": "steps",
        "save_steps": 1,
    }
    with counter() as reference:
        for steps, resume in ((2, False), (4, True)):
            job = trainer(llama(), tmp_path, [5, 9, 4, 4, 7, 3, 6], callbacks(), max_steps=steps, **settings)
            job.train(resume_from_checkpoint=resume)
    receiver.wait(processes=2)
    counted = executed(receiver)
    assert counted.keys() == {"training", "evaluation"}
    assert sum(counted.values()) - reference.get_total_flops() == 0
    assert {(row["step"], row["first_step"]) for row in receiver.messages("progress")} >= {(2, 0), (4, 2)}


def sft(folder: Path, **changes: Any) -> Any:
    return trl.SFTTrainer(
        model=trl_jobs.policy(),
        args=trl.SFTConfig(**settings(folder, **changes)),
        train_dataset=trl_jobs.texts(),
        processing_class=trl_jobs.tokenizer(),
        callbacks=callbacks(),
    )


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"packing": True, "max_length": 16},
        {"packing": True, "max_length": 16, "packing_strategy": "wrapped"},
        {"padding_free": True, "max_length": None},
        {"gradient_checkpointing": False, "gradient_accumulation_steps": 2},
    ],
    ids=["padded", "packed", "wrapped", "padding-free", "accumulation"],
)
def test_sft(receiver: Receiver, tmp_path: Path, changes: dict[str, Any]) -> None:
    counted = run(sft(tmp_path, **changes), receiver)
    assert counted.keys() == {"training"}


def preference(folder: Path, kind: Any, config: Any, model: Any = None, **changes: Any) -> Any:
    peft_config = changes.pop("peft_config", None)
    return kind(
        model=trl_jobs.policy() if model is None else model,
        args=config(**settings(folder, **changes)),
        train_dataset=trl_jobs.preferences(),
        eval_dataset=trl_jobs.preferences(2) if "eval_strategy" in changes else None,
        processing_class=trl_jobs.tokenizer(),
        callbacks=callbacks(),
        **({} if peft_config is None else {"peft_config": peft_config}),
        **({"ref_model": trl_jobs.policy()} if kind is trl.DPOTrainer and peft_config is None else {}),
    )


def dpo(folder: Path, **changes: Any) -> Any:
    return preference(folder, trl.DPOTrainer, trl.DPOConfig, **changes)


def test_dpo_has_a_reference_model(receiver: Receiver, tmp_path: Path) -> None:
    counted = run(dpo(tmp_path, gradient_checkpointing=False), receiver)
    assert counted.keys() == {"training", "reference-model"}
    assert 2.5 < counted["training"] / counted["reference-model"] < 4
    assert len(receiver.models()) == 2


def test_dpo_with_adapters_is_its_own_reference(receiver: Receiver, tmp_path: Path) -> None:
    counted = run(dpo(tmp_path, peft_config=peft.LoraConfig(**LORA)), receiver)
    assert counted.keys() == {"training", "reference-model"}
    assert len({facts["model"] for facts in receiver.models()}) == 1
    rows = [row for fed in receiver.messages("fed") for row in fed["passes"] if row["phase"] == "reference-model"]
    assert all(row["adapters_disabled"] and not row["gradient"] for row in rows)


def test_dpo_evaluates_with_its_reference_too(receiver: Receiver, tmp_path: Path) -> None:
    counted = run(dpo(tmp_path, eval_strategy="steps", eval_steps=2), receiver)
    assert counted.keys() == {"training", "reference-model", "evaluation"}


@pytest.mark.parametrize("with_adapters", [False, True])
def test_dpo_asks_its_reference_before_it_trains(receiver: Receiver, tmp_path: Path, with_adapters: bool) -> None:
    changes = {"peft_config": peft.LoraConfig(**LORA)} if with_adapters else {}
    with counter() as before:
        job = dpo(tmp_path, precompute_ref_log_probs=True, **changes)
    assert before.get_total_flops() > 0
    with counter() as reference:
        job.train()
    receiver.wait()
    counted = executed(receiver)
    assert counted.keys() == {"training", "reference-model"}
    assert counted["reference-model"] - before.get_total_flops() == 0
    assert counted["training"] - reference.get_total_flops() == 0
    assert "prepare_model" not in vars(job.accelerator)


def test_kto(receiver: Receiver, tmp_path: Path) -> None:
    job = trl.KTOTrainer(
        model=trl_jobs.policy(),
        ref_model=trl_jobs.policy(),
        args=trl.KTOConfig(**settings(tmp_path)),
        train_dataset=trl_jobs.judgements(),
        processing_class=trl_jobs.tokenizer(),
        callbacks=callbacks(),
    )
    counted = run(job, receiver)
    assert counted.keys() == {"training", "policy-scoring", "reference-model"}


def online(folder: Path, kind: Any, config: Any, rewards: list[Any], **changes: Any) -> Any:
    adapters = {"peft_config": changes.pop("peft_config")} if "peft_config" in changes else {}
    return kind(
        model=trl_jobs.policy(),
        reward_funcs=[*rewards, lambda completions, **_: [float(len(text)) for text in completions]],
        reward_processing_classes=[*(trl_jobs.tokenizer() for _ in rewards), None],
        args=config(**settings(folder, num_generations=2, max_completion_length=4, **changes)),
        train_dataset=trl_jobs.prompts(),
        eval_dataset=trl_jobs.prompts(2) if "eval_strategy" in changes else None,
        processing_class=trl_jobs.tokenizer(),
        callbacks=callbacks(),
        **adapters,
    )


def test_grpo_draws_samples_scores_them_and_trains(receiver: Receiver, tmp_path: Path) -> None:
    changes = {"gradient_checkpointing": False, "num_iterations": 2, "steps_per_generation": 2, "max_steps": 4}
    counted = run(online(tmp_path, trl.GRPOTrainer, trl.GRPOConfig, [], beta=0.0, **changes), receiver)
    assert counted.keys() == {"training", "rollout", "policy-scoring"}


def test_grpo_with_adapters_has_a_reference(receiver: Receiver, tmp_path: Path) -> None:
    changes = {"beta": 0.1, "peft_config": peft.LoraConfig(**LORA), "eval_strategy": "steps", "eval_steps": 2}
    counted = run(online(tmp_path, trl.GRPOTrainer, trl.GRPOConfig, [], **changes), receiver)
    assert counted.keys() == {"training", "rollout", "reference-model", "evaluation"}


def test_rloo(receiver: Receiver, tmp_path: Path) -> None:
    counted = run(online(tmp_path, trl.RLOOTrainer, trl.RLOOConfig, [], beta=0.0), receiver)
    assert counted.keys() == {"training", "rollout", "policy-scoring"}


def test_a_reward_model_is_a_model_that_is_trained(receiver: Receiver, tmp_path: Path) -> None:
    job = preference(tmp_path, trl.RewardTrainer, trl.RewardConfig, model=trl_jobs.judge())
    assert run(job, receiver).keys() == {"training"}


def test_a_reward_model_judges_samples(receiver: Receiver, tmp_path: Path) -> None:
    counted = run(online(tmp_path, trl.GRPOTrainer, trl.GRPOConfig, [trl_jobs.judge()], beta=0.0), receiver)
    assert counted.keys() == {"training", "rollout", "reward-scoring"}


@pytest.mark.parametrize("loss", ["sigmoid", "simpo"])
def test_cpo_and_simpo(receiver: Receiver, tmp_path: Path, loss: str) -> None:
    changes = {"loss_type": loss, "max_length": 32}
    assert run(preference(tmp_path, cpo.CPOTrainer, cpo.CPOConfig, **changes), receiver).keys() == {"training"}


def test_orpo(receiver: Receiver, tmp_path: Path) -> None:
    changes = {"max_length": 32}
    assert run(preference(tmp_path, orpo.ORPOTrainer, orpo.ORPOConfig, **changes), receiver).keys() == {"training"}


def test_a_teacher_is_heard_online(receiver: Receiver, tmp_path: Path) -> None:
    rows = [{"messages": [{"role": "user", "content": trl_jobs.words(3, n)}, {"role": "assistant", "content": trl_jobs.words(5, n)}]} for n in range(4)]
    job = gkd.GKDTrainer(
        model=trl_jobs.policy(),
        teacher_model=trl_jobs.policy(num_hidden_layers=3),
        args=gkd.GKDConfig(**settings(tmp_path, lmbda=1.0, max_new_tokens=4, max_length=32)),
        train_dataset=trl_jobs.Dataset.from_list(rows),
        processing_class=trl_jobs.tokenizer(chat=True),
        callbacks=callbacks(),
    )
    counted = run(job, receiver)
    assert counted.keys() == {"training", "rollout", "teacher-online"}
