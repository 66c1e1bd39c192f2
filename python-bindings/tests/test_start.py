"""Under `flopsmeter run` a script that does not know us is metered; elsewhere our start-up line does nothing."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from jobs import EXAMPLES, python, script
from receiver import Receiver

TRAIN = """
    from models import llama, trainer
    job = trainer(llama(), sys.argv[1], [4] * 4)
    job.train()
    assert job.state.global_step == 2
    from ranks import leave_group
    del job
    leave_group()
"""


def test_the_example_is_metered(receiver: Receiver, tmp_path: Path) -> None:
    done = python(str(EXAMPLES / "lora_trainer.py"), "--max-steps", "2", "--output", str(tmp_path), socket=receiver.path)
    assert done.returncode == 0, done.stderr
    receiver.wait()
    (facts,) = receiver.models()
    assert facts["class_name"] == "LlamaForCausalLM"
    assert len(facts["training"]["adapters"]) == 12
    assert sum(count for form, count in receiver.passes().items() if form[0] == "training") == 4
    # Not a word of ours; a path may well have the name in it.
    assert not [line for line in (done.stderr + done.stdout).splitlines() if line.startswith("flopsmeter")]


@pytest.mark.parametrize(
    ("example", "phases"),
    [
        (("sft_trainer.py", "--packing"), {"training"}),
        (("dpo_trainer.py",), {"training", "reference-model"}),
        (("grpo_trainer.py",), {"training", "rollout", "policy-scoring"}),
    ],
)
def test_the_examples_with_trl_are_metered(
    receiver: Receiver, tmp_path: Path, example: tuple[str, ...], phases: set[str]
) -> None:
    name, *options = example
    done = python(str(EXAMPLES / name), *options, "--max-steps", "1", "--output", str(tmp_path), socket=receiver.path)
    assert done.returncode == 0, done.stderr
    receiver.wait()
    assert {form[0] for form in receiver.passes()} == phases
    assert not receiver.findings()


def test_isolated_mode(receiver: Receiver, tmp_path: Path) -> None:
    done = python("-I", script(tmp_path, TRAIN), str(tmp_path), socket=receiver.path)
    assert done.returncode == 0, done.stderr
    receiver.wait()
    assert receiver.passes() == {("training", True, 2, 4, 0): 2}


@pytest.mark.parametrize("first", ["import transformers.trainer", "from transformers import Trainer", "import transformers"])
def test_whatever_way_the_trainer_is_imported(receiver: Receiver, tmp_path: Path, first: str) -> None:
    done = python(script(tmp_path, f"{first}\n{TRAIN}".replace("\n    ", "\n")), str(tmp_path), socket=receiver.path)
    assert done.returncode == 0, done.stderr
    receiver.wait()
    assert receiver.passes() == {("training", True, 2, 4, 0): 2}


def test_a_callback_of_the_user_s_own_changes_nothing(receiver: Receiver, tmp_path: Path) -> None:
    code = TRAIN.replace("[4] * 4)", "[4] * 4, [flopsmeter.FlopsMeterCallback()])")
    done = python(script(tmp_path, f"    import flopsmeter\n{code}"), str(tmp_path), socket=receiver.path)
    assert done.returncode == 0, done.stderr
    receiver.wait()
    assert receiver.passes() == {("training", True, 2, 4, 0): 2}
    # What transformers says of a callback that it has twice.
    assert "there is already one" not in done.stderr


def test_ranks_of_torchrun_count_once_each(receiver: Receiver, tmp_path: Path) -> None:
    launcher = ("-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "0", "--rdzv-backend", "c10d", "--rdzv-endpoint", "127.0.0.1:0", "--local-addr", "127.0.0.1")
    done = python(*launcher, script(tmp_path, TRAIN.replace("== 2", "== 1")), str(tmp_path), socket=receiver.path)
    assert done.returncode == 0, done.stderr
    receiver.wait(processes=2)
    assert receiver.passes() == {("training", True, 2, 4, 0): 2}
    speakers = sorted((hello["process"]["rank"], hello["process"]["world_size"]) for hello in receiver.messages("hello"))
    assert speakers == [(0, 2), (1, 2)]


def test_without_the_wrapper_nothing_is_loaded(tmp_path: Path) -> None:
    code = "import sys; print([name for name in sys.modules if 'flopsmeter' in name], sys.meta_path)"
    done = python("-c", code, socket=None)
    assert done.stdout.startswith("[] ")
    assert "flopsmeter" not in done.stdout


def test_importing_us_imports_neither_torch_nor_transformers() -> None:
    code = "import flopsmeter, sys; flopsmeter.__version__; print({'torch', 'transformers', 'peft'} & set(sys.modules))"
    assert python("-c", code, socket=None).stdout == "set()\n"


def test_waiting_for_the_trainer_imports_only_the_standard_library(receiver: Receiver) -> None:
    code = "import sys; print(sorted(name for name in sys.modules if 'flopsmeter' in name or 'torch' in name))"
    assert python("-c", code, socket=receiver.path).stdout == "['flopsmeter', 'flopsmeter._start']\n"


def test_the_source_of_the_trainer_can_still_be_read(receiver: Receiver) -> None:
    code = "import inspect, transformers.trainer as t; print(len(inspect.getsource(t)) > 1000, type(t.__loader__).__name__)"
    assert python("-c", code, socket=receiver.path).stdout == "True SourceFileLoader\n"


def test_an_import_never_fails_because_of_us(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Importing it instruments this process.
    monkeypatch.setattr("transformers.trainer.DEFAULT_CALLBACKS", [])
    from flopsmeter import _start

    _start._instrument(SimpleNamespace())
    told = capsys.readouterr().err
    assert told.startswith("flopsmeter: this process is not metered: ")
    assert told.count("\n") == 1


FINDERS = """
    import sys
    class Old:
        def find_module(self, name, path=None):
            return None
    class Failing:
        def find_spec(self, name, path=None, target=None):
            if name == "transformers.trainer":
                raise ImportError("the job's own")
    sys.meta_path.insert(1, {finder}())
    import flopsmeter._start
    {first}
    try:
        import transformers.trainer
    except ImportError as problem:
        print("not imported:", problem)
    else:
        print([kind.__name__ for kind in transformers.trainer.DEFAULT_CALLBACKS])
"""


@pytest.mark.parametrize(
    ("finder", "told"), [("Old", "'AutomaticCallback']"), ("Failing", "not imported: the job's own")]
)
def test_other_finders_are_asked_as_without_us(tmp_path: Path, finder: str, told: str) -> None:
    code = FINDERS.format(finder=finder, first="assert type(sys.meta_path[0]).__name__ == '_TrainerFinder'")
    done = python(script(tmp_path, code), socket=None)
    assert done.returncode == 0, done.stderr
    assert told in done.stdout
    assert "flopsmeter" not in done.stderr
