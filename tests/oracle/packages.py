"""Packages in plain Python: which contracts of a spread's legs the scorer is not given.

Rules, from ARCHITECTURE.md "Packages". A *print* is a counted trade without an order (order_id 0)
of an instrument that a defined spread names as a leg. A counted trade of that spread *claims*
size x ratio contracts of each leg, on the leg's side for a buyer, on the other for a seller, on
neither if either side is unknown. Prints and claims of one leg and one ts_event are one group. It
is open from its first record to the first step (a scoring instant, or a second's sealing) that
comes `HOLD` after its ts_event, or seals its second. Then as many printed contracts as are
claimed are package flow; the others are flow as of that step.

An event is a dict as in `tests.oracle.engine`; a leg is (instrument_id, side, ratio, divisor).
"""

from __future__ import annotations

from tests.oracle.engine import SECOND, Event, Sessions, Settings, judge_trade, watermarks

__all__ = ["HOLD", "Group", "hand_overs", "match", "package_groups"]

HOLD = 10_000_000
SIDES = "ABN"  # a seller hit the bid, a buyer lifted the ask, nobody knows
COVERS = (
    *("claim_legs", "find_group", "give_fresh", "match_group", "note_package"),
    *("seal_packages", "settle_packages", "withheld"),
)

Leg = tuple[int, str, int, int]
Sums = dict[str, int]


class Group:
    """Prints and claims of one leg and one ts_event."""

    def __init__(self, opened_at: int, closes_ns: int) -> None:
        """Begin with nothing, at the watermark `opened_at`."""
        self.opened_at, self.closes_ns = opened_at, closes_ns
        self.printed: Sums = dict.fromkeys(SIDES, 0)
        self.claimed: Sums = dict.fromkeys(SIDES, 0)


def match(printed: Sums, claimed: Sums) -> Sums:
    """Return by side the printed contracts that are claimed; "N" are those of unknown side.

    First each side with its own. Claims of unknown side then take what is left of both sides if
    they can take all of it; else it is not known whose they are. Prints of unknown side get what
    claims are left.
    """
    taken = {side: min(printed[side], claimed[side]) for side in "AB"}
    left = {side: printed[side] - taken[side] for side in "AB"}
    if sum(left.values()) <= claimed["N"]:
        taken = {side: printed[side] for side in "AB"}
    rest = sum(claimed.values()) - sum(taken.values())
    return {**taken, "N": min(printed["N"], rest)}


def steps_after(watermark: int, settings: Settings, interval: int) -> tuple[int, int]:
    """Return the first scoring instant and the first sealing after a watermark."""
    lateness = settings["lateness_ns"]
    sealing = ((watermark - lateness) // SECOND + 1) * SECOND + lateness
    return (watermark // interval + 1) * interval, sealing


def first_step(watermark: int, from_ns: int, settings: Settings, interval: int) -> int:
    """Return the first step after `watermark` that is not before `from_ns`."""
    return min(steps_after(max(watermark, from_ns - 1), settings, interval))


def claims_of(event: Event, legs: list[Leg]) -> list[tuple[int, str, int]]:
    """Return (leg, side, contracts) of a spread's trade; a leg of uneven contracts has none."""
    found = []
    for leg_id, leg_side, ratio, divisor in legs:
        if event["size"] * ratio % divisor:
            continue
        side = "N"
        if event["side"] != "N" and leg_side != "N":
            side = "B" if event["side"] == leg_side else "A"
        found.append((leg_id, side, event["size"] * ratio // divisor))
    return found


def package_groups(
    events: list[Event],
    spreads: dict[int, list[Leg]],
    sessions: Sessions,
    settings: Settings,
    interval: int,
) -> tuple[dict[tuple[int, int], Group], list[tuple[int, Event]]]:
    """Return the groups by (leg, ts_event), and the counted trades that are flow as they come.

    The latter each with the watermark they came at.
    """
    groups: dict[tuple[int, int], Group] = {}
    plain: list[tuple[int, Event]] = []
    legs = {leg[0] for one in spreads.values() for leg in one}

    def group_at(leg_id: int, ts_ns: int, watermark: int) -> Group | None:
        if (leg_id, ts_ns) not in groups:
            sealed = (ts_ns // SECOND + 1) * SECOND + settings["lateness_ns"]
            closes = first_step(watermark, min(ts_ns + HOLD, sealed), settings, interval)
            groups[leg_id, ts_ns] = Group(watermark, closes)
        group = groups[leg_id, ts_ns]
        return group if watermark < group.closes_ns else None

    for event, watermark in zip(events, watermarks(events), strict=True):
        if event["action"] != "T":
            continue
        if judge_trade(event, watermark, sessions, settings) != "counted":
            continue
        number = event["instrument_id"]
        for leg_id, side, contracts in claims_of(event, spreads.get(number, [])):
            claimed = group_at(leg_id, event["ts_event"], watermark)
            if claimed is not None:
                claimed.claimed[side] += contracts
        is_print = number in legs and number not in spreads and event["order_id"] == 0
        group = group_at(number, event["ts_event"], watermark) if is_print else None
        if group is None:
            plain.append((watermark, event))
        else:
            group.printed[event["side"]] += event["size"]
    return groups, plain


def hand_overs(
    events: list[Event],
    spreads: dict[int, list[Leg]],
    sessions: Sessions,
    settings: Settings,
    interval: int,
) -> dict[tuple[int, int, int], list[int]]:
    """Return by (instant, instrument, second) the contracts handed over: [sold, bought]."""
    groups, plain = package_groups(events, spreads, sessions, settings, interval)
    last = max(watermarks(events), default=-1)
    found: dict[tuple[int, int, int], list[int]] = {}

    def hand(step: int, number: int, ts_ns: int, sums: Sums) -> None:
        instant = -(-step // interval) * interval
        if instant <= last and sums["A"] + sums["B"]:
            cell = found.setdefault((instant, number, ts_ns // SECOND), [0, 0])
            cell[0] += sums["A"]
            cell[1] += sums["B"]

    for watermark, event in plain:
        sums = {side: event["size"] if side == event["side"] else 0 for side in SIDES}
        step = first_step(watermark, watermark + 1, settings, interval)
        hand(step, event["instrument_id"], event["ts_event"], sums)
    for (leg_id, ts_ns), group in groups.items():
        taken = match(group.printed, group.claimed)
        hand(group.closes_ns, leg_id, ts_ns, {s: group.printed[s] - taken[s] for s in SIDES})
    return found
