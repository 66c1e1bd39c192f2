#!/usr/bin/env python3
"""Holds other estimators and our own command against the recorded counts, and writes the table into METHOD.md.

    tools/compare_peers.py --binary target/debug/flopsmeter           print it
    tools/compare_peers.py --binary … --write                         write it into METHOD.md
    tools/compare_peers.py --binary … --check                         fail if METHOD.md says anything else
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))

from peers import cases, formulas, ours, table, trainer  # noqa: E402

FIXTURE = ROOT / "tests/fixtures/flop_cases.json"
METHOD = ROOT / "METHOD.md"
CONVENTIONS = ("full, visible pairs", "all ckpt, executed")

def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=Path, required=True, help="the built flopsmeter")
    parser.add_argument("--write", action="store_true", help="write the table into METHOD.md")
    parser.add_argument("--check", action="store_true", help="fail if METHOD.md says anything else")
    arguments = parser.parse_args()
    recorded = cases.read(FIXTURE)
    plans = ours.plans(arguments.binary, recorded)
    peers = list(formulas.PEERS)
    try:
        peers.append(trainer.TrainerFigure().peer())
    except trainer.Unavailable as problem:
        print(f"compare_peers: no column for transformers: {problem}", file=sys.stderr)
        if arguments.write or arguments.check:
            return 1
    section = compose(recorded, plans, peers)
    document = METHOD.read_text()
    if arguments.write:
        METHOD.write_text(table.replace(document, section))
    elif arguments.check and table.replace(document, section) != document:
        print("compare_peers: METHOD.md is not what `make peers` would write; run it", file=sys.stderr)
        return 1
    elif not arguments.check:
        print(section)
    return report(recorded, plans)


def report(recorded: Sequence[cases.Case], plans: Sequence[ours.Plan | str]) -> int:
    """Says why cases were not counted; fails if one was counted wrongly."""
    reasons = Counter((case.model, plan) for case, plan in zip(recorded, plans, strict=True) if isinstance(plan, str))
    for (model, reason), count in reasons.items():
        print(f"compare_peers: {model}: {count} not counted: {reason}", file=sys.stderr)
    wrong = [
        case for case, plan in zip(recorded, plans, strict=True) if isinstance(plan, ours.Plan) and not plan.equals(case)
    ]
    for case in wrong:
        print(f"compare_peers: {case.model}: counted, and not equal: {' '.join(case.options())}", file=sys.stderr)
    return 1 if wrong else 0


def compose(recorded: Sequence[cases.Case], plans: Sequence[ours.Plan | str], peers: Sequence[formulas.Peer]) -> str:
    """The whole marked part of METHOD.md."""
    counted = [plan if isinstance(plan, ours.Plan) else None for plan in plans]
    pairs = list(zip(recorded, counted, strict=True))
    own = table.Row("**flopsmeter**")
    for case, plan in pairs:
        own.add(case.group, plan.training if plan else None, case.training)
    equal = sum(plan.equals(case) for case, plan in pairs if plan)
    lines = [
        f"Of {len(recorded)} recorded runs of {len({case.model for case in recorded})} models, `flopsmeter plan --json` counts "
        f"{own.answered}, and {equal} of these equal the counter to the last operation in forward, backward and recomputation "
        "each, and in the trainable parameters.",
        "",
        "Error of the training compute (forward and backward, without recomputation, whole score matrix): |error| in %, "
        "median / largest.",
        "",
        *table.errors([own, *(errors(peer, recorded) for peer in peers)], cases.GROUPS, "all"),
        "",
        "In the peers' own conventions: a full fine-tune against the *visible* pairs alone (the causal mask halves attention, as "
        "Megatron-LM and verl have it), and runs with checkpointing against what is *executed*, recomputation included.",
        "",
        *table.errors([errors_by_convention(peer, recorded) for peer in peers], CONVENTIONS, "both"),
        "",
        *table.lines(("estimator", "formula", "source", "left out or billed too much"), map(description, peers)),
    ]
    return "\n".join(lines)


def errors(peer: formulas.Peer, recorded: Sequence[cases.Case]) -> table.Row:
    row = table.Row(peer.name)
    for case in recorded:
        row.add(case.group, peer.training(case), case.training)
    return row


def errors_by_convention(peer: formulas.Peer, recorded: Sequence[cases.Case]) -> table.Row:
    row = table.Row(peer.name)
    visible, executed = CONVENTIONS
    for case in recorded:
        if case.is_plain_full:
            row.add(visible, peer.training(case), case.executed_visible)
        elif case.is_checkpointed:
            row.add(executed, peer.training(case), case.executed)
    return row


def description(peer: formulas.Peer) -> tuple[str, ...]:
    return peer.name, peer.formula, peer.source, peer.faults


if __name__ == "__main__":
    sys.exit(main())
