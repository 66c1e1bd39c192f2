"""What is run, on which GPU, and what becomes of a program that fails or does not end."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest
from compare import Failure, execute, first_name, one_gpu, play, workloads
from verdict import Gpu, Workload

PRODUCT = Workload("matmul bf16", ["matmul", "bf16"])


def names(capability: tuple[int, int]) -> tuple[list[str], list[str]]:
    chosen, omitted = workloads(Gpu("a GPU", capability))
    return [workload.name for workload in chosen], [omission.what for omission in omitted]


def test_formats_are_those_that_the_gpu_has() -> None:
    tuned = ["full fine-tune", "lora fine-tune"]
    every = [f"matmul {name}" for name in ("bf16", "fp16", "tf32", "fp32", "fp64", "fp8")]
    assert names((9, 0)) == ([*every, *tuned], [])
    assert names((8, 9)) == ([*every, *tuned], [])
    assert names((8, 6)) == ([*every[:-1], *tuned], ["matmul fp8"])
    assert names((7, 5)) == (["matmul fp16", "matmul fp32", "matmul fp64"], ["matmul bf16", "matmul tf32", "matmul fp8", "fine-tunes"])
    assert workloads(Gpu("a GPU", (8, 0)))[1][0].reason == "a GPU has compute capability 8.0, and products in fp8 came with 8.9"


def test_fp8_is_no_sixteen_bit_product() -> None:
    assert {workload.name for workload in workloads(Gpu("a GPU", (9, 0)))[0] if not workload.sixteen_bit} == {"matmul fp8"}


def test_the_first_gpu_is_named_so_that_driver_and_cuda_agree() -> None:
    assert first_name(None, "1-2") == "GPU-1-2"
    assert first_name("3,1", "1-2") == "GPU-1-2"
    assert first_name("MIG-7,MIG-8", "1-2") == "MIG-7"
    assert first_name("3,1", None) == "3"
    assert first_name(None, None) == "0"


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> dict[str | None, int]:
    """How many GPUs PyTorch sees by what is visible."""
    counts: dict[str | None, int] = {}

    def probe(environment: dict[str, str]) -> dict[str, object]:
        count = counts[environment.get("CUDA_VISIBLE_DEVICES")]
        return {"gpus": count, "uuid": "1-2", "name": "a GPU", "capability": [9, 0]}

    monkeypatch.setattr("compare.probe", probe)
    return counts


def test_job_and_meter_get_one_gpu(seen: dict[str | None, int]) -> None:
    seen |= {None: 8, "GPU-1-2": 1}
    assert one_gpu({"A": "b"}) == (Gpu("a GPU", (9, 0)), {"A": "b", "CUDA_VISIBLE_DEVICES": "GPU-1-2"})
    seen |= {None: 0}
    assert one_gpu({}) is None


def test_a_choice_that_leaves_no_gpu_is_said(seen: dict[str | None, int]) -> None:
    seen |= {None: 1, "GPU-1-2": 0}
    with pytest.raises(Failure, match="sees 0 GPUs under CUDA_VISIBLE_DEVICES=GPU-1-2"):
        one_gpu({})


def test_a_program_that_does_not_end_is_killed_with_what_it_started(tmp_path: Path) -> None:
    script = f"echo waiting >&2; sleep 60 & echo $! >{tmp_path}/child; wait"
    begun = time.monotonic()
    with pytest.raises(Failure, match=r"did not end within 5 s and was killed\nwaiting"):
        execute(["sh", "-c", script], tmp_path, os.environ, 5.0)
    assert time.monotonic() - begun < 30
    state = Path(f"/proc/{(tmp_path / 'child').read_text().strip()}/stat")
    # The kernel may need a moment; a process that nobody reaps stays as a zombie.
    while state.exists() and state.read_text().split()[2] != "Z":
        assert time.monotonic() - begun < 30
        time.sleep(0.05)


def test_a_program_that_fails_is_quoted(tmp_path: Path) -> None:
    with pytest.raises(Failure, match=r"ended with 3\nout of memory"):
        execute(["sh", "-c", "echo out of memory >&2; exit 3"], tmp_path, os.environ, 60.0)
    with pytest.raises(Failure, match="cannot be started: .*no-such-meter"):
        execute([str(tmp_path / "no-such-meter")], tmp_path, os.environ, 60.0)


@pytest.mark.parametrize(("said", "complaint"), [("", "did not say what it did"), ('{"flop": 1}', "the meter left no record")])
def test_a_meter_that_leaves_nothing_is_a_failure(tmp_path: Path, said: str, complaint: str) -> None:
    meter = tmp_path / "meter"
    meter.write_text(f"#!{sys.executable}\nprint({said!r})\n")
    meter.chmod(0o755)
    (tmp_path / "summary.json").write_text("{}")
    with pytest.raises(Failure, match=complaint):
        play(str(meter), PRODUCT, tmp_path, os.environ, 60.0, None)
