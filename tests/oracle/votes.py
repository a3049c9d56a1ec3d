"""Rolling votes in plain Python: every question is answered from the list of all flow.

A flow is a dict: slot, second, instant_ns (when it was handed over), bid and ask as (before,
after) contracts of its bucket. `twins` maps a slot to the other leg of its strike.
"""

from __future__ import annotations

from typing import Any

COVERS = [
    "advance_tails",
    "can_score",
    "check_votes_room",
    "mark_all_dirty",
    "note_flow",
    "open_session",
]

SECOND_NS = 10**9
WINDOWS_S = [60, 300, 900, 1800]
TAILS_S = [60, 120, 180, 240, 300, 900, 1800, 7200]
SIDES = ["bid", "ask"]


def grew(flow: dict[str, Any], side: str) -> bool:
    """Return whether the flow has contracts on the side."""
    return bool(flow[side][1] > flow[side][0])


def capped(flow: dict[str, Any], side: str, cap: int) -> int:
    """Return the flow's new votes: contracts, at most `cap` a second and side."""
    before, after = flow[side]
    return int(min(after, cap) - min(before, cap))


def is_paired(flows: list[dict[str, Any]], flow: dict[str, Any], side: str, twins: Any) -> bool:
    """Return whether the twin has flow on the same side in the same second."""
    twin = twins.get(flow["slot"])
    return any(
        other["slot"] == twin and other["second"] == flow["second"] and grew(other, side)
        for other in flows
    )


def carried(
    flows: list[dict[str, Any]], slot: int, grain_s: int, side: str, twins: Any
) -> list[dict[str, Any]]:
    """Return the flow that carries the votes of channel B: of each `grain_s` seconds, the first.

    The first in order of hand-over that has a vote of cap 1 the pair filter left.
    """
    first: dict[int, dict[str, Any]] = {}
    for flow in flows if grain_s else []:
        if (
            flow["slot"] == slot
            and capped(flow, side, 1)
            and not is_paired(flows, flow, side, twins)
        ):
            first.setdefault(flow["second"] // grain_s, flow)
    return list(first.values())


def slow_votes(
    flows: list[dict[str, Any]], slot: int, now_ns: int, span: tuple[int, int], grain_s: int,
    twins: Any,
) -> list[int]:  # fmt: skip
    """Return the votes of bid and ask of channel B in a span of ages (s)."""
    return [
        len(younger(carried(flows, slot, grain_s, side, twins), slot, now_ns, *span))
        for side in SIDES
    ]


def younger(
    flows: list[dict[str, Any]], slot: int, now_ns: int, newest_s: int, oldest_s: int
) -> Any:
    """Return the slot's flow handed over at least `newest_s`, less than `oldest_s` ago."""
    return [
        flow
        for flow in flows
        if flow["slot"] == slot
        and newest_s * SECOND_NS <= now_ns - flow["instant_ns"] < oldest_s * SECOND_NS
    ]


def votes(
    flows: list[dict[str, Any]], slot: int, now_ns: int, span: tuple[int, int], cap: int, twins: Any
) -> list[int]:
    """Return the votes of bid and ask in a span of ages (s), without what is paired."""
    chosen = younger(flows, slot, now_ns, *span)
    return [
        sum(capped(flow, side, cap) for flow in chosen if not is_paired(flows, flow, side, twins))
        for side in SIDES
    ]


def paired_votes(flows: list[dict[str, Any]], slot: int, now_ns: int, twins: Any) -> int:
    """Return the votes of cap 1 the pair filter dropped in the 300 s window."""
    return sum(
        capped(flow, side, 1)
        for flow in younger(flows, slot, now_ns, 0, 300)
        for side in SIDES
        if is_paired(flows, flow, side, twins)
    )


def volumes(flows: list[dict[str, Any]], slot: int, now_ns: int) -> list[int]:
    """Return the contracts of bid and ask in the 300 s window."""
    chosen = younger(flows, slot, now_ns, 0, 300)
    return [sum(flow[side][1] - flow[side][0] for flow in chosen) for side in SIDES]


def changed(
    flows: list[dict[str, Any]], slot: int, before_ns: int, now_ns: int, twins: Any
) -> bool:
    """Return whether facts of the slot changed between two instants.

    New flow, or mids that turned, in it or in its twin, or its own flow passing one of the ages.
    """
    own = [
        flow["instant_ns"]
        for flow in flows
        if flow["slot"] == slot and any(grew(flow, side) for side in SIDES)
    ]
    other = [
        flow["instant_ns"]
        for flow in flows
        if twins.get(flow["slot"]) == slot or flow["slot"] == slot
    ]
    if any(before_ns < instant_ns <= now_ns for instant_ns in other):
        return True
    return any(
        before_ns < instant_ns + age_s * SECOND_NS <= now_ns
        for instant_ns in own
        for age_s in TAILS_S
    )


def persistence(
    flows: list[dict[str, Any]], slot: int, now_ns: int, side: int, twins: Any
) -> float:
    """Return the share of active 60 s blocks of the last five that lean to the side."""
    blocks = [
        votes(flows, slot, now_ns, (start_s, start_s + 60), 1, twins)
        for start_s in (0, 60, 120, 180, 240)
    ]
    active = [block for block in blocks if sum(block) > 0]
    if len(active) < 2:
        return 0.5
    return sum(block[side] > block[1 - side] for block in active) / len(active)
