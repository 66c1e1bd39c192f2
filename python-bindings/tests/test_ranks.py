"""Several processes of one launcher: who tells of what."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import torch
from jobs import script
from models import llama
from oracle import counter, executed
from receiver import Receiver

DATA_PARALLEL = """
    import os
    from models import llama, sequences, trainer
    from oracle import counter
    import flopsmeter

    job = trainer(
        llama(), "{folder}", [5, 9, 4, 4, 7, 3, 6, 8], [flopsmeter.FlopsMeterCallback()], ddp_backend="gloo",
        gradient_accumulation_steps=2, eval_strategy="epoch", evaluation=sequences([6, 4]),
    )
    with counter() as reference:
        job.train()
    with open("{folder}/counted." + os.environ["RANK"], "w") as file:
        file.write(str(reference.get_total_flops()))
"""

TENSOR_PARALLEL = """
    import torch
    import torch.distributed as distributed
    from transformers import AutoModelForCausalLM
    from transformers.distributed import DistributedConfig
    import flopsmeter

    model = AutoModelForCausalLM.from_pretrained("{folder}/model", distributed_config=DistributedConfig(tp_size=2), attn_implementation="eager")
    ids = torch.ones((2, 5), dtype=torch.long)
    with flopsmeter.Meter(model) as meter:
        model(input_ids=ids, labels=ids).loss.backward()
        meter.step()
    distributed.destroy_process_group()
"""


def launch(receiver: Receiver, folder: Path, code: str) -> list[int]:
    """Runs a job on two ranks; what PyTorch's counter said in each, where the job writes that down."""
    environment = {**os.environ, "FLOPSMETER_SOCKET": receiver.path, "CUDA_VISIBLE_DEVICES": ""}
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "0", "--standalone"]
    done = subprocess.run(
        [*torchrun, script(folder, code)], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return [int(path.read_text()) for path in folder.glob("counted.*")]


def test_two_ranks_with_accumulation_and_evaluation(receiver: Receiver, tmp_path: Path) -> None:
    counted = launch(receiver, tmp_path, DATA_PARALLEL.format(folder=tmp_path))
    receiver.wait(processes=2)
    assert len(counted) == 2
    assert sum(executed(receiver).values()) - sum(counted) == 0
    assert all("parallel" not in facts for facts in receiver.models())


def test_tensor_parallel_ranks_tell_that_they_share(receiver: Receiver, tmp_path: Path) -> None:
    model = llama()
    model.save_pretrained(tmp_path / "model")
    ids = torch.ones((2, 5), dtype=torch.long)
    with counter() as whole:
        model(input_ids=ids, labels=ids).loss.backward()
    launch(receiver, tmp_path, TENSOR_PARALLEL.format(folder=tmp_path))
    receiver.wait(processes=2)
    told = sorted(tuple(sorted(facts["parallel"].items())) for facts in receiver.models())
    assert told == [(("tensor", 2),), (("tensor", 2), ("tensor_rank", 1))]
    # Each rank tells of the whole products, as if it were alone; the meter takes those of the first.
    assert executed(receiver) == {"training": 2 * whole.get_total_flops()}
