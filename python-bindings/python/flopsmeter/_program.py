"""Writes down what a model does as a program: products, what leads from one to the next, and where something is saved.

Every floating-point parameter is taken as trained, so that the program shows all the ways a gradient could go; which of them
it does go is decided by whoever reads the program together with what is really trained (``core/src/facts/inventory.rs``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from ._meta_kernels import MetaKernels, tensors
from ._operations import forward_products, is_opaque, is_product

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ._operations import Product

#: Steps of the longest program that is told; an 8-billion-parameter decoder has a thousand.
_MOST_STEPS = 40_000

_LOOK_UP = torch.ops.aten.embedding.default


class TooLong(RuntimeError):
    """The program has more steps than anybody wants to be told."""


@dataclass
class Step:
    """One step: `product`, `look-up`, `join` or `save`; which it is decides what the fields hold."""

    op: str
    operands: tuple[int | None, ...]
    output: int = 0
    amount: int = 0
    """Operations of a product, positions of a look-up."""
    weight: int | None = None
    """Slot of the parameter that is multiplied with or looked up in, as a whole."""
    sizes: tuple[int, ...] = ()
    """Of a product with such a parameter, as ``_sizes`` gives them."""
    inside: str = ""
    """Name of the module it is done in."""
    result: Tensor | None = None
    """What a product gave."""
    is_dead: bool = False
    """A product from which nothing leads to what the model gives: it has no backward pass."""


class Slots:
    """Numbers for activations; two that require gradients under the same conditions share one."""

    def __init__(self) -> None:
        self._below: list[int] = []

    def __len__(self) -> int:
        return len(self._below)

    def new(self, operands: Iterable[int | None] = ()) -> int:
        """A slot that requires gradients if one of these does."""
        below = 1 << len(self._below)
        for operand in operands:
            if operand is not None:
                below |= self._below[operand]
        self._below.append(below)
        return len(self._below) - 1

    def covers(self, slot: int, other: int) -> bool:
        """Whether `slot` requires gradients whenever `other` does."""
        return bool(self._below[slot] >> other & 1)

    def widest(self, slots: Iterable[int | None]) -> tuple[int, ...]:
        """Without those that another one covers."""
        present = sorted({slot for slot in slots if slot is not None})
        if len(present) < 2:
            return tuple(present)
        return tuple(slot for slot in present if not any(other > slot and self.covers(other, slot) for other in present))


@dataclass
class Program:
    """What was written down."""

    steps: list[Step] = field(default_factory=list)
    slots: Slots = field(default_factory=Slots)
    checkpoints: list[tuple[str, str | None, int, int]] = field(default_factory=list)
    """What can be recomputed: a module, how the code itself asks for it, the first step and the one after the last."""
    input_embeddings: list[int] = field(default_factory=list)
    """What `enable_input_require_grads()` makes require gradients."""
    unseen: dict[str, str] = field(default_factory=dict)
    """Operators and functions that were not seen through, with the module they were met in."""


class Writer(MetaKernels):
    """Follows one forward pass. It keeps every tensor it meets, so that an id stays one tensor's."""

    def __init__(self, parameters: Iterable[Tensor], deadline: float = float("inf")) -> None:
        super().__init__(deadline)
        self.program = Program()
        self.inside: list[str] = [""]
        self.parameters: dict[int, int] = {}
        """Slot of each parameter by its id."""
        self._shapes: dict[int, torch.Size] = {}
        self._slots: dict[int, int | None] = {}
        self._written: dict[int, int | None] = {}
        self._blind: set[int] = set()
        self._hidden: list[tuple[Step, tuple[int | None, ...]]] = []
        self._kept: list[object] = []
        self._joined: dict[tuple[int, ...], int] = {}
        self._packed: list[Tensor] = []
        self._pending: list[int] = []
        self._last: tuple[frozenset[int], int | None] = (frozenset(), None)
        for parameter in parameters:
            if parameter.requires_grad:
                slot = self.program.slots.new()
                self.parameters[id(parameter)] = self._slots[id(parameter)] = slot
                self._shapes[slot] = parameter.shape

    def pack(self, tensor: Tensor) -> Tensor:
        """What autograd keeps, in order with the operators around it."""
        self._packed.append(tensor)
        return tensor

    def saw(self, operator: Any, args: tuple[Any, ...], output: Any) -> None:
        """Writes the operator down."""
        inputs = tuple(tensors(args))
        outputs = tuple(tensors(output if isinstance(output, (list, tuple)) else (output,)))
        self._kept += inputs
        self._kept += outputs
        if is_opaque(operator):
            self.program.unseen.setdefault(operator.name(), self.inside[-1])
        products = forward_products(operator, args, output)
        if products:
            slot = self._multiply(products, args, inputs, outputs[0])
        else:
            slot = self.join([self.slot(tensor) for tensor in inputs])
            self._settle(inputs, slot)
            if operator is _LOOK_UP:
                slot = self._step(Step("look-up", (slot,), amount=args[1].numel(), weight=self.parameters.get(id(args[0]))))
        self._assign(operator, args, outputs, slot)

    def slot(self, tensor: Tensor) -> int | None:
        """Under which conditions a tensor requires gradients; None for never."""
        slot = self._slots.get(id(tensor))
        if self._written:
            slot = self.join([slot, self._written.get(_storage(tensor))])
        if slot is None or not torch.is_grad_enabled():
            return slot
        if not tensor.requires_grad:
            return None
        if id(tensor) in self._blind:
            self._see_through(tensor, slot)
        return slot

    def end(self, output: object) -> None:
        """After the pass: whether a product has a backward pass depends on what the model gives."""
        for leaf in tree_leaves(output):
            if isinstance(leaf, Tensor):
                self.slot(leaf)
        self.mark()
        reached = _reached(output)
        for step in self.program.steps:
            if step.result is not None:
                node = step.result.grad_fn
                step.is_dead = node is not None and node not in reached
                step.result = None

    def join(self, slots: Iterable[int | None]) -> int | None:
        """The slot of what is made from these without a product."""
        widest = self.program.slots.widest(slots)
        if len(widest) < 2:
            return widest[0] if widest else None
        known = self._joined.get(widest)
        if known is None:
            known = self._joined[widest] = self._step(Step("join", widest))
        return known

    def mark(self) -> int:
        """The number of steps up to here, where something begins or ends that may be recomputed."""
        self._settle((), None)
        self._flush(())
        self._joined.clear()
        return len(self.program.steps)

    def _multiply(
        self, products: list[Product], args: tuple[Any, ...], inputs: tuple[Tensor, ...], output: Any
    ) -> int | None:
        multiplied: set[int] = set()
        slot: int | None = None
        for number, product in enumerate(products):
            multiplied |= {id(product.left), id(product.right)}
            operands = (slot if product.left is None else self.slot(product.left), self.slot(product.right))
            if number == 0:
                self._settle(inputs, None)
            # A product saves before it is formed, so what was saved since the last one on fewer conditions is told by it.
            self._flush(operands)
            slot = self._product(product, operands, args)
            self.program.steps[-1].result = output
        return self.join([slot, *(self.slot(tensor) for tensor in inputs if id(tensor) not in multiplied)])

    def _product(self, product: Product, operands: tuple[int | None, ...], args: tuple[Any, ...]) -> int | None:
        right = product.right
        if product.left is not None and operands[0] in self._shapes and operands[1] not in self._shapes:
            # The other way round: what was a matrix's columns are its rows.
            right, operands = product.left.mT if product.left.dim() > 1 else product.left, operands[::-1]
        step = Step("product", operands, amount=product.amount)
        shape = None if operands[1] is None else self._shapes.get(operands[1])
        if shape is not None:
            step.sizes = _sizes(shape, right, args)
            step.weight = operands[1] if step.sizes else None
        output = self._step(step)
        if not torch.is_grad_enabled():
            # No gradient comes here, unless this turns out to be the inside of a function with a backward pass of its own.
            self._hidden.append((step, operands))
            step.operands = (None, None)
        return None if operands == (None, None) else output

    def _step(self, step: Step) -> int:
        program = self.program
        if len(program.steps) >= _MOST_STEPS:
            raise TooLong(f"it has more than {_MOST_STEPS} steps")
        step.output = program.slots.new(step.operands)
        step.inside = self.inside[-1]
        program.steps.append(step)
        return step.output

    def _settle(self, inputs: tuple[Tensor, ...], slot: int | None) -> None:
        """Decides for what was packed since the last operator whether that one or this one keeps it."""
        outputs, last = self._last
        mine = {id(tensor) for tensor in inputs}
        for tensor in self._packed:
            is_result = id(tensor) in outputs and _keeps_result(type(tensor.grad_fn))
            owner = slot if id(tensor) in mine and not is_result else last
            if owner is not None:
                self._pending.append(owner)
        self._packed.clear()

    def _flush(self, operands: Iterable[int | None]) -> None:
        slots = self.program.slots
        told = [operand for operand in operands if operand is not None]
        for slot in slots.widest(self._pending):
            if not any(slots.covers(operand, slot) for operand in told):
                self.program.steps.append(Step("save", (slot,)))
        self._pending.clear()

    def _assign(self, operator: Any, args: tuple[Any, ...], outputs: tuple[Tensor, ...], slot: int | None) -> None:
        for place in _written_places(operator):
            if place < len(args) and isinstance(args[place], Tensor):
                key = _storage(args[place])
                self._written[key] = self.join([self._written.get(key), slot])
        for tensor in outputs:
            if tensor.is_floating_point() or tensor.is_complex():
                self._slots[id(tensor)] = slot
                if not torch.is_grad_enabled():
                    self._blind.add(id(tensor))
        self._last = (frozenset(map(id, outputs)), slot)

    def _see_through(self, tensor: Tensor, slot: int) -> None:
        """A result that requires gradients although none were followed: a function with its own backward pass made it."""
        self._blind.discard(id(tensor))
        for step, operands in self._hidden:
            if self.program.slots.covers(slot, step.output):
                step.operands = operands
                self.program.unseen.setdefault(type(tensor.grad_fn).__name__, self.inside[-1])


class Sizer(MetaKernels):
    """Follows one forward pass for its amounts alone, in the order of the program's products and look-ups."""

    def __init__(self, deadline: float = float("inf")) -> None:
        super().__init__(deadline)
        self.amounts: list[int] = []
        self._counts: dict[Any, bool] = {}

    def saw(self, operator: Any, args: tuple[Any, ...], output: Any) -> None:
        """Adds the operator's amounts."""
        counts = self._counts.get(operator)
        if counts is None:
            counts = self._counts[operator] = is_product(operator) or operator is _LOOK_UP
        if counts:
            products = forward_products(operator, args, output)
            self.amounts.extend([product.amount for product in products] or [args[1].numel()])


def _storage(tensor: Tensor) -> int:
    key: int = tensor.untyped_storage()._cdata
    return key


def _sizes(parameter: torch.Size, weight: Tensor, args: tuple[Any, ...]) -> tuple[int, ...]:
    """`inputs, outputs` of a matrix, `experts, inputs, outputs` of one picked from a stack for each row, and `inputs, outputs,
    window, groups` of a convolution; nothing of a parameter that is multiplied in any other way."""
    if len(args) > 8:
        outer, inner, *window = weight.shape
        transposed, groups = bool(args[6]), int(args[8])
        inputs, outputs = (outer, inner * groups) if transposed else (inner * groups, outer)
        return (inputs, outputs, torch.Size(window).numel(), groups)
    inner = tuple(weight.shape[-2:])
    if len(parameter) == 2 and weight.dim() == 2 and weight.numel() == parameter.numel():
        return inner
    if len(parameter) == 3 and weight.dim() == 3 and sorted(inner) == sorted(parameter[1:]) and len(args) < 3:
        return (parameter[0], *inner)
    return ()


def _reached(output: object) -> set[Any]:
    """Nodes of autograd's graph that a loss over what a model gives leads back to: over its loss or its logits, where it has some."""
    for name in ("loss", "logits"):
        named = getattr(output, name, None)
        if isinstance(named, Tensor):
            output = named
            break
    pending = [leaf.grad_fn for leaf in tree_leaves(output) if isinstance(leaf, Tensor) and leaf.grad_fn is not None]
    reached = set(pending)
    while pending:
        for node, _ in pending.pop().next_functions:
            if node is not None and node not in reached:
                reached.add(node)
                pending.append(node)
    return reached


_results_kept: dict[type, bool] = {}
_places_written: dict[Any, tuple[int, ...]] = {}


def _keeps_result(node: type) -> bool:
    """Whether a node of autograd's graph keeps what its operator gave, as softmax does."""
    known = _results_kept.get(node)
    if known is None:
        known = _results_kept[node] = any(name.startswith(("_saved_result", "_saved_out")) for name in dir(node))
    return known


def _written_places(operator: Any) -> tuple[int, ...]:
    """Which of its arguments an operator writes to."""
    known = _places_written.get(operator)
    if known is None:
        arguments = enumerate(operator._schema.arguments)
        known = tuple(place for place, argument in arguments if argument.alias_info is not None and argument.alias_info.is_write)
        _places_written[operator] = known
    return known
