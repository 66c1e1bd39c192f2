"""PyTorch's operation counter, put right where it is wrong, and recomputation told apart from the backward pass."""

import torch
from torch.utils import checkpoint as checkpointing
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count, flop_registry, shape_wrapper
from torch.utils.module_tracker import ModuleTracker

aten = torch.ops.aten
# Products the counter has no formula for, or a wrong one. Where one of them runs, the case says so under `uncounted`.
UNCOUNTED = ("solve_triangular", "grouped_mm", "scaled_dot_product", "_fft_")
VECTORS = ("mv", "dot", "vdot", "addmv", "addr", "addbmm")


def convolution_backward(grad_out, x, weight, _bias, _stride, _padding, _dilation, transposed, *rest, **_keywords):
    """Each of the two gradients costs what the forward pass does; the counter multiplies the weight's by the groups."""
    mask = rest[2]
    once = conv_flop_count(x, weight, grad_out, transposed=transposed)
    return once * (int(mask[0]) + int(mask[1]))


class Counter(FlopCounterMode):
    """The counter, and what of its total was counted while a checkpointed function ran again."""

    def __init__(self):
        super().__init__(display=False, custom_mapping={aten.convolution_backward: convolution_backward})
        self.recompute = 0
        self.in_backward = False
        self.in_mark = False

    def mark(self, function):
        """A function whose operations count as recomputation when the backward pass calls it."""

        def marked(*args, **kwargs):
            if self.in_mark:  # a layer checkpointed within another: the outer one's repetition holds it
                return function(*args, **kwargs)
            before, self.in_mark = self.get_total_flops(), True
            try:
                return function(*args, **kwargs)
            finally:
                self.in_mark = False
                # Non-reentrant recomputation stops early by raising an exception.
                if self.in_backward:
                    self.recompute += self.get_total_flops() - before

        return marked


def count(run, model, reentrant):
    """Forward, backward without recomputation and recomputation of one training step."""
    counter = Counter()
    for module in model.modules():
        if getattr(module, "gradient_checkpointing", False):
            module._gradient_checkpointing_func = lambda function, *args: checkpointing.checkpoint(
                counter.mark(function), *args, use_reentrant=reentrant
            )
    with counter:
        loss = run()
        forward = counter.get_total_flops()
        if loss.requires_grad:
            counter.in_backward = True
            loss.backward()
    backward = counter.get_total_flops() - forward - counter.recompute
    return forward, backward, counter.recompute


class Witness(TorchDispatchMode):
    """Names of the operations that run and that the counter cannot count."""

    def __init__(self):
        super().__init__()
        self.seen = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func._schema.name.removeprefix("aten::")
        if name in VECTORS or any(part in name for part in UNCOUNTED):
            self.seen.add(name)
        return func(*args, **(kwargs or {}))


def uncounted(run):
    with Witness() as witness:
        run().backward()
    return sorted(witness.seen)


class Listing(TorchDispatchMode):
    """Every product in the order it runs: phase, operation, shapes of its tensors, operations, innermost module."""

    def __init__(self, modules):
        super().__init__()
        self.modules = modules
        self.phase = "forward"
        self.lines = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        formula = {**flop_registry, aten.convolution_backward: shape_wrapper(convolution_backward)}.get(func._overloadpacket)
        if formula:
            shapes = " ".join("x".join(map(str, it.shape)) for it in args if isinstance(it, torch.Tensor))
            flop = formula(*args, **(kwargs or {}), out_val=result)
            self.lines.append(f"{self.phase} {func._overloadpacket} {shapes} {flop} {max(self.modules.parents, key=len)}")
        return result


def products(run):
    """What `--products` prints. A module is not known in the backward pass: autograd runs its products late."""
    with ModuleTracker() as modules, Listing(modules) as listing:
        loss = run()
        listing.phase = "backward"
        loss.backward()
    return listing.lines
