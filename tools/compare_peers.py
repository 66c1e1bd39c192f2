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

from peers import cases, formulas, ours, section, table, trainer  # noqa: E402

FIXTURE = ROOT / "tests/fixtures/flop_cases.json"
FAMILIES = sorted((ROOT / "core/tests/families").glob("*.json"))
METHOD = ROOT / "METHOD.md"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=Path, required=True, help="the built flopsmeter")
    parser.add_argument("--write", action="store_true", help="write the table into METHOD.md")
    parser.add_argument("--check", action="store_true", help="fail if METHOD.md says anything else")
    arguments = parser.parse_args()
    peers = list(formulas.PEERS)
    try:
        peers.append(trainer.TrainerFigure().peer())
    except trainer.Unavailable as problem:
        print(f"compare_peers: no column for transformers: {problem}", file=sys.stderr)
        if arguments.write or arguments.check:
            return 1
    recorded = ours.answer(arguments.binary, cases.read(FIXTURE))
    small = {path.stem: ours.answer(arguments.binary, cases.read_families(path)) for path in FAMILIES}
    made = "\n".join([*section.recorded_cases(recorded, peers), "", *section.families(small)])
    document = METHOD.read_text()
    if arguments.write:
        METHOD.write_text(table.replace(document, made))
    elif arguments.check and table.replace(document, made) != document:
        print("compare_peers: METHOD.md is not what `make peers` would write; run it", file=sys.stderr)
        return 1
    elif not arguments.check:
        print(made)
    return report([*recorded, *(answer for answers in small.values() for answer in answers)])


def report(answers: Sequence[ours.Answer]) -> int:
    """Says why cases were not counted; fails if one was counted wrongly."""
    reasons = Counter((answer.case.model, answer.reason) for answer in answers if answer.plan is None)
    for (model, reason), count in reasons.items():
        print(f"compare_peers: {model}: {count} not counted: {reason}", file=sys.stderr)
    wrong = [answer.case for answer in answers if answer.is_wrong]
    for case in wrong:
        print(f"compare_peers: {case.model}: counted, and not equal: {' '.join(case.options())}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
