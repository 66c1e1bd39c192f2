"""What a pass was for, where no trainer of TRL is needed to see it."""

from __future__ import annotations

import copy
import functools
import io
import threading
import weakref
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import peft
import pytest
import torch
from models import llama, sequences, trainer
from oracle import counter, executed
from receiver import Receiver
from transformers import Trainer, TrainerCallback

import flopsmeter
from flopsmeter import _phases, _watch

IDS = torch.ones((2, 5), dtype=torch.long)


def close() -> None:
    """Ends the connection, as the process's end would."""
    _watch._connection.close()


def test_evaluation_alone_is_seen_before_and_after_training(receiver: Receiver, tmp_path: Path) -> None:
    job = trainer(llama(), tmp_path, [4] * 4, [flopsmeter.FlopsMeterCallback()], evaluation=sequences([6, 6]))
    with counter() as reference:
        job.evaluate()
        job.train()
        job.evaluate()
        job.predict(sequences([7]))
    assert not job.model._forward_pre_hooks
    close()
    receiver.wait(processes=2)
    assert receiver.passes() == {
        ("training", True, 2, 4, 0): 2,
        ("evaluation", False, 2, 6, 0): 2,
        ("evaluation", False, 1, 7, 0): 1,
    }
    assert sum(executed(receiver).values()) - reference.get_total_flops() == 0


def test_a_trainer_that_is_copied_has_plain_methods(receiver: Receiver, tmp_path: Path) -> None:
    job = trainer(llama(), tmp_path, [4] * 4, [flopsmeter.FlopsMeterCallback()], evaluation=sequences([6]))
    job.train()
    other = copy.deepcopy(job)
    assert other.evaluate.__func__ is type(job).evaluate
    other.evaluate()
    close()
    receiver.wait()
    assert receiver.passes() == {("training", True, 2, 4, 0): 2}


def test_a_copy_of_a_watched_model_is_not_watched(receiver: Receiver) -> None:
    model = llama()
    with flopsmeter.Meter(model):
        copied = copy.deepcopy(model)
        stored = io.BytesIO()
        torch.save(model, stored)
        stored.seek(0)
        for other in (copied, torch.load(stored, weights_only=False)):
            other(input_ids=IDS)
        model(input_ids=IDS)
    receiver.wait()
    assert receiver.passes() == {("training", True, 2, 5, 0): 1}
    assert not receiver.findings()


def test_samples_for_people_are_no_rollouts(receiver: Receiver, tmp_path: Path) -> None:
    class Show(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
            model.generate(IDS, max_new_tokens=1, do_sample=False)

    trainer(llama(), tmp_path, [4] * 2, [Show(), flopsmeter.FlopsMeterCallback()]).train()
    receiver.wait()
    assert receiver.passes() == {("training", True, 2, 4, 0): 1, ("generation", False, 2, 5, 0): 1}


def test_generation_without_a_cache_is_generation(receiver: Receiver) -> None:
    model = llama().train()
    with flopsmeter.Meter(model):
        model.generate(IDS, max_new_tokens=2, do_sample=False, use_cache=False, eos_token_id=None)
    receiver.wait()
    assert receiver.passes() == {("generation", False, 2, 5, 0): 1, ("generation", False, 2, 6, 0): 1}


def test_a_plain_loop_says_what_its_models_are_for(receiver: Receiver) -> None:
    policy, reference, critic = llama(), llama().eval(), llama(num_hidden_layers=1)
    meter = flopsmeter.Meter
    with meter(policy), meter(reference, phase="reference-model"), meter(critic, phase="value-model"):
        policy(input_ids=IDS)
        critic(input_ids=IDS)
        with torch.no_grad():
            reference(input_ids=IDS)
            critic(input_ids=IDS)
    receiver.wait()
    assert {form[0]: form[1] for form in receiver.passes()} == {
        "training": True,
        "value-model": True,
        "reference-model": False,
        "value-scoring": False,
    }
    with pytest.raises(ValueError, match="reference-model, reward-scoring"):
        meter(policy, phase="reference")


def test_adapters_switched_off_make_a_reference(receiver: Receiver) -> None:
    model = peft.get_peft_model(llama(), peft.LoraConfig(r=2, target_modules=["q_proj"]))
    with counter() as reference, flopsmeter.Meter(model):
        # The very first pass: the model is described while its adapters are off.
        with torch.no_grad(), model.disable_adapter():
            model(input_ids=IDS)
        model(input_ids=IDS, labels=IDS).loss.backward()
    receiver.wait()
    counted = executed(receiver)
    assert counted.keys() == {"reference-model", "training"}
    assert sum(counted.values()) - reference.get_total_flops() == 0


def test_contrastive_training_feeds_one_model_twice_a_step(receiver: Receiver) -> None:
    model = llama()
    with counter() as reference, flopsmeter.Meter(model) as meter:
        left = model(input_ids=IDS).logits.mean((1, 2))
        right = model(input_ids=IDS[:, :3]).logits.mean((1, 2))
        (left * right).sum().backward()
        meter.step()
    receiver.wait()
    assert receiver.passes() == {("training", True, 2, 5, 0): 1, ("training", True, 2, 3, 0): 1}
    assert sum(executed(receiver).values()) - reference.get_total_flops() == 0


def test_replicas_of_data_parallel_are_counted_in_their_threads(receiver: Receiver) -> None:
    """What `nn.DataParallel` does, whose scatter needs two GPUs: copied modules, called in threads of their own."""
    model = llama()
    replicas = [model._replicate_for_data_parallel() for _ in range(2)]
    with flopsmeter.Meter(model):
        replicas = [model._replicate_for_data_parallel() for _ in range(2)]
        for replica in replicas:
            replica.forward = model.forward
        threads = [threading.Thread(target=replica, kwargs={"input_ids": IDS[:1]}) for replica in replicas]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    receiver.wait()
    assert receiver.passes() == {("training", True, 1, 5, 0): 2}


def test_a_shrinking_batch_is_counted_as_it_was_tried(receiver: Receiver, tmp_path: Path) -> None:
    """`auto_find_batch_size` begins anew after a batch that did not fit; what was done of it was done."""
    tried = []

    def refuse_large(module: Any, args: Any, kwargs: Any) -> None:
        tried.append(kwargs["input_ids"].shape[0])
        if kwargs["input_ids"].shape[0] > 2:
            raise RuntimeError("CUDA out of memory.")

    model = llama()
    model.model.register_forward_pre_hook(refuse_large, with_kwargs=True)
    settings = {"auto_find_batch_size": True, "per_device_train_batch_size": 4}
    trainer(model, tmp_path, [4] * 4, [flopsmeter.FlopsMeterCallback()], **settings).train()
    receiver.wait()
    counts = {form[2]: number for form, number in receiver.passes().items()}
    assert sum(counts.values()) == len(tried) and counts[max(tried)] == 1
    assert receiver.connections[0].messages[-1] == {"message": "goodbye"}
    assert not model._forward_pre_hooks


def test_a_data_set_is_not_searched_for_models(monkeypatch: pytest.MonkeyPatch) -> None:
    class Rows(list[Any]):
        def __iter__(self) -> Any:
            raise AssertionError("a row is made when it is read")

    looked = []
    is_model = _phases._is_model
    monkeypatch.setattr(_phases, "_is_model", lambda module: looked.append(module) or is_model(module))
    first, second = llama(), llama()
    rows = [torch.nn.Identity() for _ in range(40)]
    holder = SimpleNamespace(train_dataset=rows, eval_dataset=Rows([1]), reward_funcs=[first], judges=(second,))
    assert list(_phases.held_models(holder)) == [(first, "reward-scoring"), (second, "other")]
    assert len(looked) == 16 + 2


def evaluate(act: Any) -> bool:
    """A job's own function of that name."""
    act()
    logits = torch.ones(2)
    gone = weakref.ref(logits)
    act()
    del logits
    return gone() is None


def test_a_loop_of_the_job_s_own_lets_its_tensors_go() -> None:
    class Direct:
        def predict(self, act: Any) -> bool:
            act()
            logits = torch.ones(2)
            gone = weakref.ref(logits)
            act()
            del logits
            return gone() is None

    _phases._codes.clear()
    assert evaluate(_phases.situation)
    assert Direct().predict(_phases.situation)


def test_methods_of_a_trainer_are_known_whatever_is_around_them(tmp_path: Path) -> None:
    def around(method: Any) -> Any:
        return functools.wraps(method)(lambda *args: method(*args))

    class Own(Trainer):  # type: ignore[misc]
        @around
        def evaluate(self) -> Any:
            return _phases.situation()

    def predict(self: Any) -> Any:
        return _phases.situation()

    _phases._codes.clear()
    job = Own.__new__(Own)
    assert job.evaluate() == ("evaluation", False)
    job.predict = predict.__get__(job)
    assert job.predict() == ("evaluation", False)
