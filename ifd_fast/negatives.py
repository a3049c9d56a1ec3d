"""Hard negatives of a simulated session: flow that looks one-sided or unusual and isn't."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from ifd_fast.errors import ConfigError
from ifd_fast.planner import SIDES, Child, Episode, Planner, Turn
from ifd_fast.truth import NEGATIVE_KINDS
from ifd_kernels import layout
from ifd_kernels import market_state as ms

__all__ = ["add_negatives", "check_weights", "choose_kinds"]

SECOND_NS: Final = layout.SECOND_NS
TOGETHER_NS: Final = 50_000_000  # the legs of one package come within so long
CRUSH_STEPS: Final = 40
BACK_S: Final = 3_600.0  # in which volatility comes back after a crush
GAP_CLEAR_NS: Final = 600 * SECOND_NS  # between a gap and what is planted
NEAR: Final = 0.25  # of the strikes, those near the money


def check_weights(weights: dict[str, float], count: int) -> None:
    """Refuse weights of unknown kinds, or none where `count` are wanted."""
    unknown = sorted(set(weights) - set(NEGATIVE_KINDS))
    if unknown or (count and not math.fsum(weights.values()) > 0.0):
        raise ConfigError(
            f"`labels.negatives` must weigh some of {NEGATIVE_KINDS}, was {weights or 'empty'}."
        )


def choose_kinds(planner: Planner, count: int) -> list[str]:
    """Return `count` kinds by the world's weights, in a drawn order."""
    weights = planner.labels.negatives
    total = math.fsum(weights.values()) or 1.0
    kinds: list[str] = []
    reached = planner.random.random() - 0.5  # rounding falls on other kinds in other sessions
    for kind, weight in weights.items():
        reached += weight / total * count
        kinds += [kind] * (round(reached) - len(kinds))
    while len(kinds) < count:
        kinds.append(planner.random.choice(list(weights)))
    planner.random.shuffle(kinds)
    return kinds[:count]


def add_negatives(planner: Planner, count: int) -> None:
    """Add `count` hard negatives; gaps last, clear of what is planted."""
    kinds = choose_kinds(planner, count)
    for kind in sorted(kinds, key=lambda kind: kind == "feed_gap"):
        if not MAKERS[kind](planner):
            _odd_lots(planner)  # a session without expiring strikes or spreads has others


def _near_money(planner: Planner, kind: str, room: int = 0) -> list[int]:
    """Return free options of a type in the middle strikes, `room` strikes from the edge."""
    strikes = planner.world.chain.strikes
    half = max(1 + room, round(strikes * NEAR))
    found = []
    for slot in planner.free(planner.options()):
        place = (slot - 1) % (2 * strikes) // 2
        if planner.chain[slot].instrument_class == kind and abs(place - strikes // 2) <= half:
            found.append(slot)
    return found


def _duration(planner: Planner) -> float:
    return planner.random.choice(planner.labels.durations_s[1:] or planner.labels.durations_s)


def _cluster(planner: Planner) -> int:
    planner.clusters += 1
    return planner.clusters


def _maker_turn(planner: Planner) -> bool:
    """Let a maker buy and sell as much again, in runs of a few."""
    slots = [
        slot for slot in planner.free(planner.options()) if planner.activity.rates[slot] >= 6.0
    ]
    slot = planner.random.choice(slots or planner.free(planner.options()))
    duration_s = _duration(planner)
    start_ns = planner.start(slot, duration_s)
    sizes = [planner.size(slot) for _ in range(planner.random.randint(8, 25))]
    left = {1: sizes, -1: planner.random.sample(sizes, len(sizes))}
    order: list[tuple[int, int]] = []
    side = planner.random.choice(SIDES)
    while left[1] or left[-1]:
        run = planner.random.randint(2, 5)
        order += [(side, size) for size in left[side][:run]]
        left[side] = left[side][run:]
        side = -side
    times = planner.even_times(len(order), start_ns, duration_s)
    children = [
        Child(at, slot, side, size, ms.MODE_FORCED, 0)
        for at, (side, size) in zip(times, order, strict=True)
    ]
    planner.note("maker_turn", slot, 0, (start_ns, duration_s), children)
    return True


def _package(planner: Planner, kind: str, call: int, put: int) -> bool:
    """Trade a call and a put together, the same side and size."""
    side = planner.random.choice(SIDES)
    duration_s = _duration(planner)
    start_ns = max(planner.start(call, duration_s), planner.session.open_ns)
    times = planner.even_times(planner.random.randint(8, 25), start_ns, duration_s)
    sizes = [planner.size(call) for _ in times]
    cluster_id = _cluster(planner)
    for number, slot in enumerate((call, put)):
        late = [planner.random.randrange(1 + number * TOGETHER_NS) for _ in times]
        children = [
            Child(at + after, slot, side, size, ms.MODE_FORCED, 0)
            for at, after, size in zip(times, late, sizes, strict=True)
        ]
        span = (start_ns, duration_s)
        planner.note(kind, slot, side, span, children, cluster_id=cluster_id)
    return True


def _straddle(planner: Planner) -> bool:
    """Trade call and put of one strike."""
    calls = [call for call in _near_money(planner, "C") if call + 1 not in planner.taken]
    call = planner.random.choice(calls)
    return _package(planner, "straddle", call, call + 1)


def _strangle(planner: Planner) -> bool:
    """Trade a call and a put some strikes below it."""
    away = 2 * planner.random.randint(2, 6)
    calls = [
        call
        for call in _near_money(planner, "C", 6)
        if call + 1 - away not in planner.taken
        and planner.chain[call + 1 - away].instrument_class == "P"
        and planner.chain[call + 1 - away].expiration_ns == planner.chain[call].expiration_ns
    ]
    if not calls:
        return False
    call = planner.random.choice(calls)
    return _package(planner, "strangle", call, call + 1 - away)


def _vol_crush(planner: Planner) -> bool:
    """Sell calls and puts near the money while volatility falls, for minutes."""
    if any(turn.kind == "vol" for turn in planner.turns):
        return False  # one a session: prices have a floor
    strikes = planner.world.chain.strikes
    calls = [call for call in _near_money(planner, "C") if call + 1 not in planner.taken]
    first = planner.random.choice(calls)
    expiry = (first - 1) // (2 * strikes)
    chosen = [call for call in calls if (call - 1) // (2 * strikes) == expiry]
    chosen = planner.random.sample(chosen, min(3, len(chosen)))
    duration_s = max(_duration(planner), 300.0)
    start_ns = planner.start(first, duration_s)
    cluster_id = _cluster(planner)
    for slot in [slot for call in chosen for slot in (call, call + 1)]:
        times = planner.even_times(planner.random.randint(8, 20), start_ns, duration_s)
        children = [Child(at, slot, -1, planner.size(slot), ms.MODE_FORCED, 0) for at in times]
        planner.note("vol_crush", slot, -1, (start_ns, duration_s), children, cluster_id=cluster_id)
    lowest = 1.0 - planner.labels.crush_share
    for step in range(1, 2 * CRUSH_STEPS + 1):
        down = step <= CRUSH_STEPS
        share = step / CRUSH_STEPS if down else 2.0 - step / CRUSH_STEPS
        passed_s = step / CRUSH_STEPS * duration_s
        if not down:
            passed_s = duration_s + (step / CRUSH_STEPS - 1.0) * BACK_S
        at = start_ns + round(passed_s * 1e9)
        if at < planner.session.close_ns:
            planner.turns.append(Turn(at, "vol", 1.0 - (1.0 - lowest) * share))
    return True


def _spread(planner: Planner, kind: str, strategy: str) -> bool:
    """Trade one side of a listed spread; its legs print what the spread traded."""
    listed = [
        slot
        for slot, item in enumerate(planner.chain)
        if f" {strategy} " in item.symbol and slot not in planner.taken
    ]
    listed = [
        slot
        for slot in listed
        if not any(leg in planner.taken for leg, _ in planner.chain[slot].legs if leg)
    ]
    if not listed:
        return False
    slot = planner.random.choice(listed)
    side = planner.random.choice(SIDES)
    duration_s = _duration(planner)
    start_ns = planner.start(slot, duration_s)
    times = planner.even_times(planner.random.randint(8, 25), start_ns, duration_s)
    sizes = [planner.size(planner.chain[slot].legs[0][0]) for _ in times]
    children = [
        Child(at, slot, side, size, ms.MODE_FORCED, 0)
        for at, size in zip(times, sizes, strict=True)
    ]
    cluster_id = _cluster(planner)
    span = (start_ns, duration_s)
    planner.note(kind, slot, side, span, children, cluster_id=cluster_id)
    spread: Episode = planner.episodes[-1]
    for leg, leg_side in planner.chain[slot].legs:
        if leg == 0:
            continue  # the future: no row of its own
        turned = side if leg_side == "B" else -side
        planner.note(kind, leg, turned, span, [], cluster_id=cluster_id)
        planner.episodes[-1] = planner.episodes[-1]._replace(
            contracts=spread.contracts, children=spread.children, source=spread.label_id
        )
    return True


def _odd_lots(planner: Planner) -> bool:
    """Trade many single contracts in a minute or two, sides by chance."""
    slot = planner.random.choice(planner.free(planner.options()))
    duration_s = planner.random.choice((60.0, 120.0))
    start_ns = planner.start(slot, duration_s)
    times = planner.even_times(planner.random.randint(12, 30), start_ns, duration_s)
    sides = [planner.random.choice(SIDES) for _ in times]
    children = [
        Child(at, slot, side, 1, ms.MODE_FORCED, 0) for at, side in zip(times, sides, strict=True)
    ]
    planner.note("odd_lots", slot, 0, (start_ns, duration_s), children)
    return True


def _odd_block(planner: Planner) -> bool:
    """Trade hundreds of contracts at once."""
    slot = planner.random.choice(planner.free(planner.options()))
    side = planner.random.choice(SIDES)
    start_ns = planner.start(slot, 60.0)
    child = Child(start_ns, slot, side, planner.random.randint(100, 400), ms.MODE_ICEBERG, 0)
    planner.note("odd_block", slot, side, (start_ns, 60.0), [child])
    return True


def _expiry_noise(planner: Planner) -> bool:
    """Trade both sides of expiring strikes near the money, in their last half hour."""
    last_ns = planner.session.close_ns
    near = _near_money(planner, "C") + _near_money(planner, "P")
    slots = [slot for slot in near if planner.chain[slot].expiration_ns < last_ns]
    if not slots:
        return False
    chosen = planner.random.sample(slots, min(4, len(slots)))
    end_ns = planner.chain[chosen[0]].expiration_ns
    cluster_id = _cluster(planner)
    for slot in chosen:
        start_ns = end_ns - 1_800 * SECOND_NS
        times = planner.even_times(planner.random.randint(10, 40), start_ns, 1_790.0)
        sides = [planner.random.choice(SIDES) for _ in times]
        children = [
            Child(at, slot, side, planner.size(slot), ms.MODE_FORCED, 0)
            for at, side in zip(times, sides, strict=True)
        ]
        span = (start_ns, 1_800.0)
        planner.note("expiry_noise", slot, 0, span, children, cluster_id=cluster_id)
    return True


def _feed_gap(planner: Planner) -> bool:
    """Miss some seconds of records, after which every book is sent again."""
    for _ in range(100):
        seconds = planner.random.randint(2, 20)
        start_ns = planner.start(1, float(seconds))
        end_ns = start_ns + seconds * SECOND_NS
        clear = all(
            end_ns + GAP_CLEAR_NS < one.start_ns or start_ns > one.end_ns + GAP_CLEAR_NS
            for one in planner.episodes
        )
        if clear:
            planner.turns.append(Turn(start_ns, "gap", float(seconds)))
            planner.note_gap(start_ns, end_ns)
            return True
    return False


MAKERS: Final[dict[str, Callable[[Planner], bool]]] = {
    "maker_turn": _maker_turn,
    "straddle": _straddle,
    "strangle": _strangle,
    "vol_crush": _vol_crush,
    "covered": lambda planner: _spread(planner, "covered", "CV"),
    "calendar": lambda planner: _spread(planner, "calendar", "HO"),
    "odd_lots": _odd_lots,
    "odd_block": _odd_block,
    "expiry_noise": _expiry_noise,
    "feed_gap": _feed_gap,
}
