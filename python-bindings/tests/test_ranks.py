"""Several processes of one launcher: who tells of what."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from jobs import script
from models import llama
from oracle import counter, executed, findings
from receiver import Receiver

DATA_PARALLEL = """
    import os
    from models import llama, sequences, trainer
    from oracle import counter
    from ranks import leave_group
    import flopsmeter

    job = trainer(
        llama(), "{folder}", [5, 9, 4, 4, 7, 3, 6, 8], [flopsmeter.FlopsMeterCallback()], ddp_backend="gloo",
        gradient_accumulation_steps=2, eval_strategy="epoch", evaluation=sequences([6, 4]),
    )
    with counter() as reference:
        job.train()
    with open("{folder}/counted." + os.environ["RANK"], "w") as file:
        file.write(str(reference.get_total_flops()))
    del job
    leave_group()
"""

TENSOR_PARALLEL = """
    import torch
    from ranks import leave_process
    from transformers import AutoModelForCausalLM
    from transformers.distributed import DistributedConfig
    import flopsmeter

    model = AutoModelForCausalLM.from_pretrained("{folder}/model", distributed_config=DistributedConfig(tp_size=2), attn_implementation="eager")
    ids = torch.ones((2, 5), dtype=torch.long)
    with flopsmeter.Meter(model) as meter:
        model(input_ids=ids, labels=ids).loss.backward()
        meter.step()
    leave_process()
"""

SHARDED = """
    import os
    import torch
    import torch.distributed as distributed
    from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
    from torch.distributed.fsdp.wrap import ModuleWrapPolicy
    from models import llama
    from oracle import counter
    from ranks import leave_process
    import flopsmeter

    distributed.init_process_group("gloo")
    model = llama()
    model.lm_head.requires_grad_({head_is_trained})
    if "{way}" == "fully_shard":
        for layer in model.model.layers:
            fully_shard(layer)
        fully_shard(model)
    else:
        layers = ModuleWrapPolicy({{type(model.model.layers[0])}})
        model = FullyShardedDataParallel(
            model, auto_wrap_policy=layers, use_orig_params="{way}" == "original parameters", device_id=torch.device("cpu")
        )
    rank = int(os.environ["RANK"])
    ids = torch.ones((2, 5 + rank), dtype=torch.long)
    optimizer = torch.optim.SGD(model.parameters())
    with flopsmeter.Meter(model) as meter, counter() as reference:
        for _ in range(2):
            model(input_ids=ids, labels=ids).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            meter.step()
    with open("{folder}/counted." + os.environ["RANK"], "w") as file:
        file.write(str(reference.get_total_flops()))
    leave_process()
"""


def launch(receiver: Receiver, folder: Path, code: str) -> list[int]:
    """Runs a job on two ranks; what PyTorch's counter said in each, where the job writes that down."""
    environment = {**os.environ, "FLOPSMETER_SOCKET": receiver.path, "CUDA_VISIBLE_DEVICES": ""}
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "0", "--standalone", "--local-addr", "127.0.0.1"]
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


@pytest.mark.parametrize(
    ("way", "head_is_trained"),
    [("fully_shard", True), ("fully_shard", False), ("flat parameters", True), ("original parameters", True)],
)
def test_sharded_parameters_have_their_full_size(receiver: Receiver, tmp_path: Path, way: str, head_is_trained: bool) -> None:
    counted = launch(receiver, tmp_path, SHARDED.format(folder=tmp_path, way=way, head_is_trained=head_is_trained))
    receiver.wait(processes=2)
    assert len(counted) == 2 and counted[0] != counted[1]
    assert sum(executed(receiver).values()) - sum(counted) == 0
    assert sum(receiver.passes().values()) == 4
    whole = llama()
    total = sum(parameter.numel() for parameter in whole.parameters())
    trained = total if head_is_trained else total - whole.lm_head.weight.numel()
    for facts in receiver.models():
        assert (facts["parameters_total"], facts["parameters_trainable"]) == (total, trained)
    assert findings(receiver) == set()
