"""Takes the inventory of a live model: what it multiplies, as a program (``core/src/facts/inventory.rs``).

A copy of the model without numbers is called with batches of a few sizes. The first call is written down; the others give the
amounts of its products as sums over the sizes, and the last one checks them. What does not come out exactly is told as such.
"""

from __future__ import annotations

import os
import re
import time
import weakref
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from . import _amounts, _example_inputs, _meta_copy
from ._program import Sizer, Step, Writer
from ._quiet import checkpoints_told, unnoticed

if TYPE_CHECKING:
    from collections.abc import Hashable

    from torch.nn import Module

    from ._adapters import Adapters
    from ._example_inputs import Call, Inputs

#: `0` takes none, `always` takes one of known families too.
SWITCH_VARIABLE = "FLOPSMETER_INVENTORY"

#: The job stands still for as long: of this thread's processor time, since what others do is no work of ours.
_BUDGET_SECONDS = 2.0

#: Calls of different sizes that are remembered.
_MOST_KNOWN_CALLS = 256

#: Names that are listed in one sentence before the rest is only counted.
_LISTED = 4


@dataclass
class Inventory:
    """What is told of a model, or why nothing can be."""

    message: dict[str, Any] | None = None
    findings: list[tuple[str, str]] = field(default_factory=list)
    inputs: Inputs | None = None

    def measure(self, plain: Module) -> Measure | None:
        """How calls are measured in the inventory's own terms; None where tokens say it."""
        inputs = self.inputs
        return None if inputs is None or inputs.form is None else Measure(plain, inputs)


class Measure:
    """Sequences and length of calls, of models that read no tokens."""

    def __init__(self, plain: Module, inputs: Inputs) -> None:
        self._plain = weakref.ref(plain)
        self._inputs = inputs
        self._known: dict[Hashable, tuple[tuple[int, int] | None, bool]] = {}

    def __call__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[int, int] | None, bool]:
        """The size, of which the length is what one sequence or picture has of positions before the model does anything with
        it, and whether the inventory's amounts hold for this call.

        Looking closely takes longer than a step may cost, and calls of the same sizes are alike.
        """
        sizes = _sizes(args, kwargs)
        known = None if sizes is None else self._known.get(sizes)
        plain = self._plain()
        if known is None and plain is not None:
            size = _example_inputs.measure(plain, args, kwargs)
            known = size, self._fits(plain, size, args, kwargs)
            if sizes is not None and len(self._known) < _MOST_KNOWN_CALLS:
                self._known[sizes] = known
        return known or (None, False)

    def _fits(self, plain: Module, size: tuple[int, int] | None, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        inputs = self._inputs
        if size is None or _example_inputs.form(plain, args, kwargs) != inputs.form:
            return False
        seen = (inputs.seen.sequences, inputs.seen.length)
        return {"nothing": size == seen, "sequences": size[1] == seen[1]}.get(inputs.scales, True)


def _sizes(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Hashable | None:
    """What tells calls apart; None where an argument is more than a plain tensor or a switch."""
    found: list[Hashable] = [len(args)]
    for name, value in (*enumerate(args), *kwargs.items()):
        if isinstance(value, Tensor):
            found.append((name, value.shape, value.dtype))
        elif value is None or isinstance(value, (bool, int, float, str)):
            found.append((name, value))
        else:
            return None
    return tuple(found)


def is_wanted(family_is_known: bool) -> bool:
    """Whether a model's family or the environment asks for an inventory."""
    switch = os.environ.get(SWITCH_VARIABLE, "1")
    return switch == "always" or (switch != "0" and not family_is_known)


_taken: WeakKeyDictionary[Module, tuple[object, Inventory, Call | None]] = WeakKeyDictionary()


def of(plain: Module, adapters: Adapters, example: Call | None = None) -> Inventory:
    """The same as `take`, once for each model: what is trained is no part of it."""
    settings = tuple(module.__dict__.get("gradient_checkpointing") for module in plain.modules())
    known = _taken.get(plain)
    if known is None or known[0] != settings:
        if example is None and known is not None:
            example = known[2]
        kept = None if example is None else _example_inputs.shapes_alone(example)
        known = _taken[plain] = (settings, take(plain, adapters, kept), kept)
    return known[1]


def take(plain: Module, adapters: Adapters, example: Call | None = None) -> Inventory:
    """The inventory of a plain model; `example` is the arguments of a real call, of which only shapes are kept."""
    deadline = time.thread_time() + _BUDGET_SECONDS
    problems: list[str] = []
    with unnoticed():
        for make in _meta_copy.copies(plain, adapters):
            try:
                model = make()
                for inputs in _example_inputs.possible(model, example):
                    try:
                        return Inventory(_Taking(model, inputs, deadline).message(), inputs=inputs)
                    except _DoesNotFollow as problem:
                        problems.append(f"{inputs.scales}: {problem}")
                    except Exception as problem:
                        problems.append(_shown(problem))
            except Exception as problem:
                problems.append(_shown(problem))
            if time.thread_time() > deadline:
                break
    if not problems:
        problems.append("without a real call nobody knows what it takes")
    text = f"no inventory of {type(plain).__name__} could be taken: {'; '.join(dict.fromkeys(problems))}"
    return Inventory(None, [("inventory-failed", text)])


def _shown(problem: Exception) -> str:
    lines = str(problem).strip().splitlines() or [""]
    return f"{type(problem).__name__}: {lines[0][:200]}"


class _DoesNotFollow(Exception):
    """Amounts are no sums over the sizes that were asked of them."""


class _Taking:
    """One copy followed with one kind of inputs."""

    def __init__(self, model: Module, inputs: Inputs, deadline: float) -> None:
        self._model = model
        self._inputs = inputs
        self._deadline = deadline
        self._writer = Writer(model.parameters(), deadline)
        self._program = self._writer.program
        self._head = _name_of(model, _called(model, "get_output_embeddings"))

    def message(self) -> dict[str, Any]:
        """As the core reads it."""
        self._write()
        amounts = self._amounts()
        program, seen = self._program, self._inputs.seen
        roles: dict[int | None, Step] = {step.weight: step for step in program.steps if step.weight is not None}
        owners, modules = self._modules(roles)
        message = {
            "scales": self._inputs.scales,
            "sequences": seen.sequences,
            "length": seen.length,
            "modules": modules,
            "steps": [self._step(step, amounts.get(id(step)), owners) for step in program.steps],
            "checkpoints": [
                {"module": module, "always": kind, "first": first, "end": end}
                for module, kind, first, end in program.checkpoints
                if first < end
            ],
            "input_embeddings": program.input_embeddings,
            "output_head": self._head,
            "inexact": [
                {"what": what, "reason": f"it may multiply unseen in {place or 'the model itself'}"}
                for what, place in program.unseen.items()
            ],
        }
        return message

    def _write(self) -> None:
        """Follows the first batch in full."""
        writer, handles = self._writer, []
        embeddings = {id(_called(module, "get_input_embeddings")) for module in self._model.modules()}
        for name, module in self._model.named_modules():
            handles += self._follow(name, module, id(module) in embeddings)
        args, kwargs = self._inputs.build(0)
        saved = torch.autograd.graph.saved_tensors_hooks(writer.pack, lambda tensor: tensor)
        try:
            with checkpoints_told(writer.mark, self._checkpointed), saved, writer:
                output = self._model(*args, **kwargs)
            writer.end(output)
        finally:
            for handle in handles:
                handle.remove()

    def _follow(self, name: str, module: Module, is_embeddings: bool) -> list[Any]:
        """Hooks that tell the writer where it is."""
        writer, recomputable, begun = self._writer, _meta_copy.is_checkpointing_layer(module), []

        def enter(module: Module, args: Any) -> None:
            writer.inside.append(name)
            if recomputable:
                begun.append(writer.mark())

        def leave(module: Module, args: Any, output: Any) -> None:
            if recomputable:
                self._checkpointed(begun.pop(), None)
            slot = writer.slot(output) if is_embeddings and isinstance(output, torch.Tensor) else None
            if slot is not None:
                self._program.input_embeddings.append(slot)
            writer.inside.pop()

        return [module.register_forward_pre_hook(enter), module.register_forward_hook(leave)]

    def _checkpointed(self, first: int, kind: str | None) -> None:
        self._program.checkpoints.append((self._writer.inside[-1], kind, first, self._writer.mark()))

    def _amounts(self) -> dict[int, dict[str, int]]:
        """Amounts of products and look-ups by the id of their step."""
        steps = [step for step in self._program.steps if step.op in ("product", "look-up")]
        sizes = self._inputs.sizes
        names = _amounts.terms(self._inputs.scales, sizes[0].decoder_length > 0)
        seen = [[step.amount] for step in steps]
        tried = [sizes[0]]
        # Two sizes and the last one tell everything of products that are one term each, as nearly all are.
        for number in dict.fromkeys((1, len(sizes) - 1)):
            if 0 < number < len(sizes):
                self._size(number, steps, seen)
                tried.append(sizes[number])
        found = [_amounts.single(amounts, tried, names) for amounts in seen]
        if any(amount is None and step.op == "product" for step, amount in zip(steps, found, strict=True)):
            found = self._solved(steps, seen, found, names)
        return {id(step): amount for step, amount in zip(steps, found, strict=True) if amount is not None}

    def _solved(self, steps: list[Step], seen: list[list[int]], found: list[Any], names: list[str]) -> list[Any]:
        """The same where some are sums of several terms."""
        sizes = self._inputs.sizes
        if len(sizes) <= len(names):
            raise _DoesNotFollow("its positions are too few to try the sizes that would tell")
        last = [amounts.pop() for amounts in seen]
        for number in range(2, len(names)):
            self._size(number, steps, seen)
        solver = _amounts.Solver(sizes[: len(names)], names)
        strays = []
        for number, step in enumerate(steps):
            if found[number] is None:
                solved = solver.solve(seen[number])
                if solved is not None and _amounts.at(solved, sizes[-1]) == last[number]:
                    found[number] = solved
                elif step.op == "product":
                    strays.append(step.inside or "the model itself")
        if strays:
            shown = ", ".join(dict.fromkeys(strays[:_LISTED]))
            raise _DoesNotFollow(f"what {shown} multiplies is no sum over the sizes of a batch ({len(strays)} products)")
        return found

    def _size(self, number: int, steps: list[Step], seen: list[list[int]]) -> None:
        sizer = Sizer(self._deadline)
        args, kwargs = self._inputs.build(number)
        with checkpoints_told(lambda: None, lambda mark, kind: None), sizer:
            self._model(*args, **kwargs)
        if len(sizer.amounts) != len(steps):
            raise _DoesNotFollow(f"it does {len(steps)} products over one batch and {len(sizer.amounts)} over another")
        for amounts, amount in zip(seen, sizer.amounts, strict=True):
            amounts.append(amount)

    def _modules(self, roles: dict[int | None, Step]) -> tuple[dict[int, list[tuple[str, int]]], list[dict[str, Any]]]:
        """Who owns each slot (names and places), and the modules that own parameters."""
        owners: dict[int, list[tuple[str, int]]] = {}
        first: dict[int, str] = {}
        modules: list[dict[str, Any]] = []
        for name, module in self._model.named_modules():
            parameters = []
            for own, parameter in module.named_parameters(recurse=False, remove_duplicate=False):
                slot = self._writer.parameters.get(id(parameter))
                if slot is None:
                    continue
                row = {"name": own, "elements": parameter.numel(), "slot": slot}
                if slot in first:
                    row["tied_to"] = first[slot]
                else:
                    first[slot] = f"{name}.{own}" if name else own
                role = _role(roles.get(slot), parameter, module, own)
                if role:
                    row["role"] = role
                owners.setdefault(slot, []).append((name, len(modules)))
                parameters.append(row)
            if parameters:
                modules.append({"name": name, "parameters": parameters})
        return owners, modules

    def _step(self, step: Step, amount: dict[str, int] | None, owners: dict[int, list[tuple[str, int]]]) -> dict[str, Any]:
        if step.op == "save":
            return {"op": "save", "slot": step.operands[0]}
        if step.op == "join":
            return {"op": "join", "operands": step.operands, "output": step.output}
        if step.op == "look-up":
            return {"op": "look-up", "table": step.operands[0], "output": step.output, "positions": amount or {}}
        held_by = owners.get(step.weight, []) if step.weight is not None else []
        row = {"op": "product", "operands": step.operands, "output": step.output, "forward": amount, "part": self._part(step)}
        here = [place for name, place in held_by if name == step.inside]
        if len(held_by) > 1 and here:
            row["module"] = here[0]
        if step.is_dead:
            row["dead"] = True
        return row

    def _part(self, step: Step) -> str:
        """Where it is booked, by the names that people give their modules."""
        if self._head is not None and step.inside == self._head:
            return "output-head"
        if len(step.sizes) == 4:
            return "convolutions"
        attends = _ATTENTION.search(step.inside) is not None
        if step.weight is None:
            return "attention-scores"
        if len(step.sizes) == 3 or _EXPERTS.search(step.inside):
            return "experts"
        return "attention-projections" if attends else "mlp"


_ATTENTION = re.compile(r"att(?:n|ention)|(?:^|[._])(?:to_[qkv]|qkv|[qkvo]_proj)\b", re.IGNORECASE)
_EXPERTS = re.compile(r"(?:^|[._])experts?(?:[._]|$)", re.IGNORECASE)


def _role(step: Step | None, parameter: torch.Tensor, module: Module, name: str) -> dict[str, Any] | None:
    """What a parameter is multiplied as."""
    if isinstance(module, nn.Embedding):
        return {"kind": "embedding", "rows": parameter.shape[0], "width": parameter.shape[1]}
    if step is None and isinstance(module, nn.Linear) and name == "weight":
        return {"kind": "linear", "inputs": module.in_features, "outputs": module.out_features}  # not used by this pass
    if step is None or not step.sizes:
        return None
    if len(step.sizes) == 4:
        return dict(zip(("kind", "inputs", "outputs", "window", "groups"), ("convolution", *step.sizes), strict=True))
    if len(step.sizes) == 3:
        return dict(zip(("kind", "count", "inputs", "outputs"), ("experts", *step.sizes), strict=True))
    plain = name == "weight" and (isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D")
    kind = "linear" if plain else "linear-parameter"
    return {"kind": kind, "inputs": step.sizes[0], "outputs": step.sizes[1]}


def _called(model: Module, method: str) -> Any:
    """What one of `transformers`' methods gives; nothing where there is none."""
    try:
        return getattr(model, method)()
    except (AttributeError, NotImplementedError, TypeError):
        return None


def _name_of(model: Module, wanted: Any) -> str | None:
    return next((name for name, module in model.named_modules() if module is wanted), None)
