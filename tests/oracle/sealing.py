"""What sealing logs: the marks of slots whose facts changed, where they are other than before.

A slot's facts change at an instant when contracts are handed over in it or in its twin, and when
contracts that were handed over in it are 1, 2, 3, 4, 5, 15, 30 or 120 minutes old.
"""

from __future__ import annotations

from typing import Any

__all__ = ["COVERS", "changed_slots", "seal_instants"]

COVERS = ("scoring.marks_of", "scoring.seal_slot")

AGES_S = (60, 120, 180, 240, 300, 900, 1800, 7200)


def changed_slots(
    handed: list[tuple[int, int]], before_s: int, now_s: int, twins: dict[int, int]
) -> set[int]:
    """Return the slots whose facts changed after `before_s`, up to `now_s`.

    `handed`: (slot, second of the instant) of every hand-over of contracts so far.
    """
    changed = set()
    for slot, instant_s in handed:
        if before_s < instant_s <= now_s:
            changed |= {slot, twins.get(slot, slot)}
        if any(before_s < instant_s + age_s <= now_s for age_s in AGES_S):
            changed.add(slot)
    return changed


def seal_instants(
    steps: list[tuple[int, list[int], dict[int, int]]], twins: dict[int, int]
) -> list[tuple[int, int, int]]:
    """Return (second, slot, marks) logged over `steps`: second, slots traded, marks that hold."""
    handed: list[tuple[int, int]] = []
    told: dict[int, int] = {}
    rows: list[tuple[int, int, int]] = []
    before_s = -1
    for now_s, traded, marks in steps:
        handed += [(slot, now_s) for slot in traded]
        changed: Any = sorted(changed_slots(handed, before_s, now_s, twins))
        for slot in changed:
            if marks.get(slot, 0) != told.get(slot, 0):
                told[slot] = marks.get(slot, 0)
                rows.append((now_s, slot, told[slot]))
        before_s = now_s
    return rows
