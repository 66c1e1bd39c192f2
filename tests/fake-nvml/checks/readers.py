"""Other programs' readings: `readers.py PROGRAM` says `ready`, and for each line that it is sent prints a line of JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

Reading = dict[str, object]
Reader = Callable[[], Reading]

KWH_JOULES = 3_600_000
HMMA_CYCLES = 252


def gpustat() -> Reader:
    import gpustat

    def read() -> Reading:
        gpus = gpustat.new_query().jsonify()["gpus"]
        return {"percent": [gpu["utilization.gpu"] for gpu in gpus], "watts": [gpu["power.draw"] for gpu in gpus]}

    return read


def nvitop() -> Reader:
    import nvitop

    def read() -> Reading:
        gpus = nvitop.Device.all()
        percent = [gpu.gpu_utilization() for gpu in gpus]
        return {"percent": percent, "watts": [gpu.power_usage() / 1000 for gpu in gpus]}

    return read


def codecarbon() -> Reader:
    from codecarbon import OfflineEmissionsTracker

    tracker = OfflineEmissionsTracker(
        country_iso_code="DEU", measure_power_secs=1, save_to_file=False, log_level="error", allow_multiple_runs=True
    )
    tracker.start()

    def read() -> Reading:
        tracker.stop()
        return {"joules": [tracker.final_emissions_data.gpu_energy * KWH_JOULES]}

    return read


def nvidia_ml_py() -> Reader:
    import pynvml

    pynvml.nvmlInit()
    gpus = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]

    def energies() -> list[int]:
        return [pynvml.nvmlDeviceGetTotalEnergyConsumption(gpu) for gpu in gpus]

    def cycles() -> list[float]:
        return [hmma_cycles(gpu) for gpu in gpus]

    def hmma_cycles(gpu: object) -> float:
        sample = pynvml.nvmlGpmSampleAlloc()
        pynvml.nvmlGpmSampleGet(gpu, sample)
        request = pynvml.c_nvmlGpmMetricsGet_t()
        request.version, request.numMetrics = pynvml.NVML_GPM_METRICS_GET_VERSION, 1
        request.sample1 = request.sample2 = sample
        request.metrics[0].metricId = HMMA_CYCLES
        pynvml.nvmlGpmMetricsGet(request)
        pynvml.nvmlGpmSampleFree(sample)
        assert request.metrics[0].nvmlReturn == pynvml.NVML_SUCCESS
        return float(request.metrics[0].value)

    energies_before, cycles_before = energies(), cycles()

    def read() -> Reading:
        joules = [(after - before) / 1000 for before, after in zip(energies_before, energies(), strict=True)]
        hmma = [after - before for before, after in zip(cycles_before, cycles(), strict=True)]
        return {"joules": joules, "hmma_cycles": hmma}

    return read


def main() -> None:
    programs = {"gpustat": gpustat, "nvitop": nvitop, "codecarbon": codecarbon, "nvidia-ml-py": nvidia_ml_py}
    read = programs[sys.argv[1]]()
    print("ready", flush=True)
    for _ in sys.stdin:
        print(json.dumps(read()), flush=True)


if __name__ == "__main__":
    main()
