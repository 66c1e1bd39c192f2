"""Which ranks share the work on the same sequences: tensor, context and pipeline parallel.

Read from the device meshes that the libraries keep. Data parallel, FSDP and ZeRO are no sharing in this sense: each of their
ranks has sequences of its own.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch.nn import Module

_CONTEXT_DIMENSIONS = ("cp", "sp")


def read(plain: Module) -> dict[str, int] | None:
    """The fields of `Parallel` in ``core/src/facts.rs`` that are not what a rank by itself has; None if all are."""
    found: dict[str, int] = {}
    weights = _mesh_of_weights(plain)
    if weights is not None:
        found["tensor"], found["tensor_rank"] = _place(weights, "tp")
    state = _accelerate_state()
    for name in _CONTEXT_DIMENSIONS:
        size, rank = _context(state, name)
        if size > 1:
            # Both at once cut each sequence into the product of the two.
            found["context_rank"] = found.get("context_rank", 0) * size + rank
            found["context"] = found.get("context", 1) * size
    pipeline = _size(getattr(plain, "_device_mesh", None), "pp")
    if pipeline > 1:
        found["pipeline"] = pipeline
    return {name: value for name, value in found.items() if value > (0 if name.endswith("_rank") else 1)} or None


def _mesh_of_weights(plain: Module) -> Any:
    """The mesh of the first weight that is split among tensor-parallel ranks."""
    for parameter in plain.parameters():
        mesh = getattr(parameter, "device_mesh", None)
        if mesh is not None and "tp" in (mesh.mesh_dim_names or ()):
            return mesh
    return None


def _context(state: dict[str, Any], name: str) -> tuple[int, int]:
    mesh = state.get("device_mesh")
    if _size(mesh, name) > 1:
        return _place(mesh, name)
    # DeepSpeed keeps its own groups, of neighbouring ranks.
    size = int(getattr(state.get("parallelism_config"), f"{name}_size", None) or 1)
    return size, int(state.get("process_index", 0)) % size


def _accelerate_state() -> dict[str, Any]:
    """What accelerate's objects of this process share, without importing it."""
    module = sys.modules.get("accelerate.state")
    shared: dict[str, Any] = {}
    for name in ("PartialState", "AcceleratorState"):
        shared |= getattr(getattr(module, name, None), "_shared_state", {})
    return shared


def _size(mesh: Any, name: str) -> int:
    names = getattr(mesh, "mesh_dim_names", None) or ()
    return int(mesh.size(names.index(name))) if name in names else 1


def _place(mesh: Any, name: str) -> tuple[int, int]:
    return _size(mesh, name), int(mesh.get_local_rank(name))
