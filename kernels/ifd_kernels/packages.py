"""Packages: which contracts of a spread's legs the scorer is not given.

Legend: n slots, m legs of spreads, k groups. A *print* is a trade without an order in an
instrument that a defined spread names as a leg; a trade of that spread *claims* contracts of each
of its legs. Prints and claims of one leg and one ts_event are one group, in whatever order they
come. A group is open until the first step (an instant, or a second's sealing) `HOLD_NS` after its
ts_event, or the one that seals its second; what is printed in it waits so long. Then as many
contracts as are claimed are package flow, and the others are handed to the scorer.

Only trades of spreads with legs, and prints of legs, cost anything here.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ifd_kernels._jit import kernel
from ifd_kernels.layout import SECOND_NS, SIDE_ASK, SIDE_BID, Integer, Records
from ifd_kernels.pressure import Flow, open_pane

__all__ = [
    "GROUP",
    "LEG",
    "Packages",
    "note_package",
    "seal_packages",
    "settle_packages",
    "withheld",
]

HOLD_NS: Final = 10_000_000

ROLE_LEG: Final = -1  # in `roles`; a spread has 1 + the place of its first leg; 0: neither

SOLD: Final = 0  # the leg's bid was hit
BOUGHT: Final = 1
UNKNOWN: Final = 2

# Counters of Packages.counters.
GROUPS: Final = 0  # now in `groups`
SPREAD_TRADES: Final = 1  # trades of spreads whose legs are known
LEG_PRINTS: Final = 2  # trades without an order in a leg
PACKAGE_CONTRACTS: Final = 3  # of legs, claimed by a spread's trade
VOLATILITY_CONTRACTS: Final = 4  # of these, of packages whose legs' deltas offset
WITHHELD_CONTRACTS: Final = 5  # of these with a side: what was not handed to the scorer
UNCLAIMED_CONTRACTS: Final = 6  # printed in a leg, and no spread's: handed to the scorer
UNPRINTED_CONTRACTS: Final = 7  # claimed, and not printed by the leg
CLAIMS_UNEVEN: Final = 8  # size x ratio is no whole number of contracts
TRADES_UNTRACKED: Final = 9  # no room for another group, or it was closed: taken as they are
COUNTERS: Final = 16

LEG: Final = np.dtype(
    [
        ("instrument_id", "<u4"),
        ("numerator", "<i4"),  # contracts of the leg in `denominator` spreads
        ("denominator", "<i4"),
        ("sign", "i1"),  # 1 bought with the spread, -1 sold, 0 not said
        ("last", "u1"),  # 1: of its spread
        ("volatility", "u1"),  # 1: the deltas of the spread's legs offset
        ("pad", "u1"),
    ]
)

GROUP: Final = np.dtype(
    [
        ("ts_event_ns", "<i8"),
        ("instrument_id", "<i8"),
        ("slot", "<i8"),  # of the leg, -1 before its first print
        ("closed", "<i8"),
        ("printed", "<i8", (3,)),  # contracts SOLD, BOUGHT, UNKNOWN
        ("claimed", "<i8", (3,)),
        ("matched", "<i8", (3,)),  # once closed: package flow
        ("volatility", "<i8"),  # of `claimed`, by packages whose deltas offset
        ("pad", "<i8", (2,)),
    ]
)


class Packages(NamedTuple):
    """Spreads, their legs, and the groups that are not sealed yet."""

    roles: NDArray[np.int32]  # (n,)
    legs: Records  # (m,) LEG: those of one spread stand together
    groups: Records  # (k,) GROUP, in order of opening
    counters: NDArray[np.int64]  # (COUNTERS,)


@kernel
def find_group(packages: Packages, instrument_id: Integer, ts_ns: Integer) -> Integer:
    """Return the open group of (leg, ts_event), begun if there is none; -1: closed, or no room."""
    counters = packages.counters
    live = counters[GROUPS]
    for index in range(live - 1, -1, -1):
        group = packages.groups[index]
        if group["ts_event_ns"] == ts_ns and group["instrument_id"] == instrument_id:
            if group["closed"] == 0:
                return index
            counters[TRADES_UNTRACKED] += 1
            return -1
    if live == packages.groups.shape[0]:
        counters[TRADES_UNTRACKED] += 1
        return -1
    group = packages.groups[live]
    group["ts_event_ns"] = ts_ns
    group["instrument_id"] = instrument_id
    group["slot"] = -1
    group["closed"] = 0
    group["volatility"] = 0
    for side in range(3):
        group["printed"][side] = 0
        group["claimed"][side] = 0
        group["matched"][side] = 0
    counters[GROUPS] = live + 1
    return live


@kernel
def claim_legs(
    packages: Packages, first: Integer, ts_ns: Integer, size: Integer, side: Integer
) -> None:
    """Claim the contracts of every leg for a trade of the spread whose legs begin at `first`."""
    buyer = (1 if side == SIDE_BID else 0) - (1 if side == SIDE_ASK else 0)
    index = first
    while True:
        leg = packages.legs[index]
        contracts = size * np.int64(leg["numerator"])
        if contracts % np.int64(leg["denominator"]) != 0:
            packages.counters[CLAIMS_UNEVEN] += 1
        else:
            contracts //= np.int64(leg["denominator"])
            found = find_group(packages, np.int64(leg["instrument_id"]), ts_ns)
            sign = buyer * np.int64(leg["sign"])
            column = BOUGHT if sign > 0 else SOLD if sign < 0 else UNKNOWN
            if found >= 0:
                packages.groups[found]["claimed"][column] += contracts
                if leg["volatility"] != 0:
                    packages.groups[found]["volatility"] += contracts
        if leg["last"] != 0:
            return
        index += 1


@kernel
def note_package(
    packages: Packages,
    slot: Integer,
    instrument_id: Integer,
    ts_ns: Integer,
    size: Integer,
    side: Integer,
    is_print: bool,
) -> None:
    """Take a counted trade of a spread or of a leg; `is_print`: it has no order. O(k legs)."""
    role = np.int64(packages.roles[slot])
    if role > 0:
        packages.counters[SPREAD_TRADES] += 1
        claim_legs(packages, role - 1, ts_ns, size, side)
    elif role == ROLE_LEG and is_print:
        packages.counters[LEG_PRINTS] += 1
        found = find_group(packages, instrument_id, ts_ns)
        if found >= 0:
            column = SOLD if side == SIDE_ASK else BOUGHT if side == SIDE_BID else UNKNOWN
            packages.groups[found]["slot"] = slot
            packages.groups[found]["printed"][column] += size


@kernel
def match_group(packages: Packages, index: Integer) -> Integer:
    """Close a group: write what is package flow; return the contracts with a side that are not.

    Each side takes its own claims first. Claims of unknown side take what both sides have left if
    that is all of it: else it is not known whose they are, and they take none.
    """
    group = packages.groups[index]
    printed, claimed, matched = group["printed"], group["claimed"], group["matched"]
    sold = min(printed[SOLD], claimed[SOLD])
    bought = min(printed[BOUGHT], claimed[BOUGHT])
    if printed[SOLD] - sold + printed[BOUGHT] - bought <= claimed[UNKNOWN]:
        sold, bought = printed[SOLD], printed[BOUGHT]
    matched[SOLD] = sold
    matched[BOUGHT] = bought
    rest = claimed[SOLD] + claimed[BOUGHT] + claimed[UNKNOWN] - sold - bought
    matched[UNKNOWN] = min(printed[UNKNOWN], rest)
    group["closed"] = 1
    return np.int64(printed[SOLD] + printed[BOUGHT] - sold - bought)


@kernel
def give_fresh(flow: Flow, slot: Integer, second: Integer) -> None:
    """Have the bucket of (slot, second), which is open, handed over at the step at hand."""
    clock = flow.clock[0]
    index = slot * (clock["open_mask"] + 1) + (second & clock["open_mask"])
    bucket = flow.buckets[index]
    if bucket["fresh"] == 0:
        bucket["fresh"] = 1
        flow.fresh[clock["fresh_count"]] = index
        clock["fresh_count"] += 1


@kernel
def settle_packages(flow: Flow, packages: Packages, now_ns: Integer) -> None:
    """Close the groups that are due at the step `now_ns`, before it hands anything over. O(k)."""
    lateness = np.int64(flow.clock[0]["lateness_ns"])
    for index in range(packages.counters[GROUPS]):
        group = packages.groups[index]
        if group["closed"] != 0:
            continue
        ts_ns = np.int64(group["ts_event_ns"])
        second = ts_ns // SECOND_NS
        if ts_ns + HOLD_NS > now_ns and (second + 1) * SECOND_NS + lateness > now_ns:
            continue
        if match_group(packages, index) > 0:
            give_fresh(flow, np.int64(group["slot"]), second)


@kernel
def withheld(packages: Packages, slot: Integer, second: Integer, side: Integer) -> Integer:
    """Return the contracts of (slot, second) on `side` that the scorer is not to have now. O(k)."""
    total = np.int64(0)
    for index in range(packages.counters[GROUPS]):
        group = packages.groups[index]
        if group["slot"] == slot and group["ts_event_ns"] // SECOND_NS == second:
            if group["closed"] != 0:
                total += group["matched"][side]
            else:
                total += group["printed"][side]
    return total


@kernel
def seal_packages(flow: Flow, packages: Packages) -> None:
    """Add the groups of sealed seconds, all closed, to panes and counters; drop them. O(k)."""
    clock, counters = flow.clock[0], packages.counters
    kept = 0
    for index in range(counters[GROUPS]):
        group = packages.groups[index]
        if group["ts_event_ns"] // SECOND_NS >= clock["sealed_second"]:
            if kept != index:
                packages.groups[kept] = packages.groups[index]
            kept += 1
            continue
        printed, claimed, matched = group["printed"], group["claimed"], group["matched"]
        sided = np.int64(matched[SOLD] + matched[BOUGHT])
        total = sided + matched[UNKNOWN]
        volatility = min(total, np.int64(group["volatility"]))
        counters[PACKAGE_CONTRACTS] += total
        counters[VOLATILITY_CONTRACTS] += volatility
        counters[WITHHELD_CONTRACTS] += sided
        counters[UNCLAIMED_CONTRACTS] += printed[SOLD] + printed[BOUGHT] + printed[UNKNOWN] - total
        counters[UNPRINTED_CONTRACTS] += claimed[SOLD] + claimed[BOUGHT] + claimed[UNKNOWN] - total
        if total > 0:
            pane = group["ts_event_ns"] // clock["pane_ns"]
            entry = flow.panes[open_pane(flow, np.int64(group["slot"]), pane)]
            entry["package_volume"] += total
            entry["volatility_volume"] += volatility
    counters[GROUPS] = kept
