"""What METHOD.md says of the comparison."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import table
from .cases import GROUPS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from .cases import Case
    from .formulas import Peer
    from .ours import Answer

CONVENTIONS = ("full, visible pairs", "all ckpt, executed")


def recorded_cases(answers: Sequence[Answer], peers: Sequence[Peer]) -> Iterator[str]:
    """Published models: our count and the peers', on the same cases."""
    cases = [answer.case for answer in answers]
    own = table.Row("**flopsmeter**")
    for answer in answers:
        own.add(answer.case.group, answer.plan.training if answer.plan else None, answer.case.training)
    equal = sum(answer.is_equal for answer in answers)
    yield (
        f"Of {len(cases)} recorded runs of {len({case.model for case in cases})} models, `flopsmeter plan --json` counts "
        f"{own.answered}, and {equal} of these equal the counter to the last operation in forward, backward and recomputation "
        "each, and in the trainable parameters."
    )
    yield ""
    yield (
        "Error of the training compute (forward and backward, without recomputation, whole score matrix): |error| in %, "
        "median / largest."
    )
    yield ""
    yield from table.errors([own, *(_errors(peer, cases) for peer in peers)], GROUPS, "all")
    yield ""
    yield (
        "In the peers' own conventions: a full fine-tune against the *visible* pairs alone (the causal mask halves attention, as "
        "Megatron-LM and verl have it), and runs with checkpointing against what is *executed*, recomputation included."
    )
    yield ""
    yield from table.errors([_errors_by_convention(peer, cases) for peer in peers], CONVENTIONS, "both")
    yield ""
    head = ("estimator", "formula", "source", "left out or billed too much")
    yield from table.lines(head, ((peer.name, peer.formula, peer.source, peer.faults) for peer in peers))


def _errors(peer: Peer, cases: Sequence[Case]) -> table.Row:
    row = table.Row(peer.name)
    for case in cases:
        row.add(case.group, peer.training(case), case.training)
    return row


def _errors_by_convention(peer: Peer, cases: Sequence[Case]) -> table.Row:
    row = table.Row(peer.name)
    visible, executed = CONVENTIONS
    for case in cases:
        if case.is_plain_full:
            row.add(visible, peer.training(case), case.executed_visible)
        elif case.is_checkpointed:
            row.add(executed, peer.training(case), case.executed)
    return row


def families(groups: Mapping[str, Sequence[Answer]]) -> Iterator[str]:
    """Small random models of families of which no published model is recorded: our count alone."""
    yield (
        "Further families, traced on small random models (`core/tests/families`): a full fine-tune of each model through `plan`. The "
        "other ways of training them are compared in `core/tests`. The peers' formulas are meant for large models and not held to these."
    )
    yield ""
    yield from table.lines(("group", "families", "models", "counted", "difference 0"), map(_group, groups.items()))


def _group(group: tuple[str, Sequence[Answer]]) -> list[str]:
    name, answers = group
    known = {answer.case.config["model_type"] for answer in answers}
    counted = sum(answer.plan is not None for answer in answers)
    return [name, *map(str, (len(known), len(answers), counted, sum(answer.is_equal for answer in answers)))]
