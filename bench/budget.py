"""What the count gate compares: counts per event against the committed budget.

Instructions, data reads and data writes may differ by 2 %, simulated last-level misses by 10 %.
More is a failure; less is one too, so that the budget follows each gain in the same commit.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final, TypeAlias

__all__ = ["BUDGET_FILE", "MEASURES", "Counts", "compare", "compare_versions", "read", "write"]

Counts: TypeAlias = dict[str, float]

BUDGET_FILE: Final = Path(__file__).parent / "budget.json"

# measure -> (relative tolerance, absolute tolerance per event). The absolute one is for counts
# near zero: a kernel that misses the cache 20 times in 20,000 events may miss it 40 times.
MEASURES: Final = {
    "instructions": (0.02, 0.01),
    "data_reads": (0.02, 0.01),
    "data_writes": (0.02, 0.01),
    "ll_misses": (0.10, 0.01),
}

_MORE: Final = (
    "Find out why (`callgrind_annotate` on the dump, kept by --keep FOLDER). If the work is worth "
    "it, run `./dev count --update --only {name}` and commit budget.json alone, saying why."
)
_LESS: Final = "Well done: run `./dev count --update --only {name}` and commit budget.json with it."


def compare(name: str, counted: Counts, budget: Counts) -> list[str]:
    """Return one sentence for each measure of region `name` that left its bounds."""
    faults = []
    for measure, (relative, absolute) in MEASURES.items():
        actual, expected = counted[measure], budget[measure]
        if abs(actual - expected) <= max(relative * expected, absolute):
            continue
        change = f"{(actual - expected) / expected:+.1%}" if expected else f"{actual:+.3f}"
        advice = (_MORE if actual > expected else _LESS).format(name=name)
        faults.append(
            f"{name}: {actual:.3f} {measure} an event, budget {expected:.3f} ({change}, "
            f"bound {relative:.0%}). {advice}"
        )
    return faults


def compare_versions(running: dict[str, str], budget: dict[str, str]) -> list[str]:
    """Return one sentence for each tool whose version isn't the budget's."""
    return [
        f"{tool} is {running.get(tool)}, the budget was counted with {version}: counts can't be "
        "compared. Use the locked versions, or count the base commit too and re-baseline with "
        "`./dev count --update` in a commit that says so."
        for tool, version in budget.items()
        if running.get(tool) != version
    ]


def read(path: Path = BUDGET_FILE) -> tuple[dict[str, str], dict[str, Counts]]:
    """Return the versions and the counts per event of each region."""
    if not path.exists():
        return {}, {}
    budget = json.loads(path.read_text())
    return budget["versions"], budget["per_event"]


def write(versions: dict[str, str], per_event: dict[str, Counts], path: Path = BUDGET_FILE) -> None:
    """Write the budget, sorted, four decimals, so that a change reads well in a diff."""
    rounded = {
        name: {measure: round(per_event[name][measure], 4) for measure in MEASURES}
        for name in sorted(per_event)
    }
    text = json.dumps({"versions": versions, "per_event": rounded}, indent=1)
    path.write_text(text + "\n")
