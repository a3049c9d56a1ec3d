"""A quiet market for the scorer: self-similar activity over many strikes, no planted flow."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ifd_fast import scores
from ifd_fast.profiles import Profile
from ifd_kernels._jit import kernel
from ifd_kernels.companions import companion_decades, in_step_share
from ifd_kernels.layout import DONE, IDENTITY, KIND_CALL, KIND_PUT, SECOND_NS, TOUCH, Records
from ifd_kernels.rescoring import HANDOVER
from ifd_kernels.score_state import Score
from ifd_kernels.scoring import note_flow, score_instant
from ifd_kernels.signals import EXPECTED
from ifd_kernels.votes import mark_all_dirty

__all__ = [
    "FLOW",
    "OPEN_NS",
    "Market",
    "hand_overs",
    "quiet_market",
    "rows_between",
    "run_companions",
    "run_full",
    "run_instants",
]

OPEN_NS: Final = 1_700_000_100 * SECOND_NS
START_S: Final = 0  # after the open
FLOW: Final = np.dtype([("second", "<i8"), ("slot", "<i8"), ("bid", "<i8"), ("ask", "<i8")])


class Market(NamedTuple):
    """A scorer at its open, and the flow (k,) of FLOW to come, sorted by second."""

    score: Score
    identities: Records
    touch: Records
    flow: Records


def quiet_market(slots: int, seconds: int, per_second: float, seed: int = 7) -> Market:
    """Return a market in which each second some Zipf-drawn strikes trade, either way."""
    rng = np.random.default_rng(seed)
    identities = np.zeros(slots, IDENTITY)
    number = np.arange(slots)
    identities["instrument_id"] = number
    identities["mapped"] = 1
    identities["kind"] = np.where(number % 2 == 0, KIND_CALL, KIND_PUT)
    identities["twin_slot"] = number ^ 1
    identities["strike_1e9"] = 10**9 * (number // 2)
    touch = np.zeros(slots, TOUCH)
    touch["changes"], touch["bid_price_1e9"], touch["ask_price_1e9"] = 1, 10**9, 2 * 10**9
    weight = 1.0 / (1 + rng.permutation(slots)) ** 1.1
    share = weight / weight.sum()
    count = int(seconds * per_second)
    flow = np.zeros(count, FLOW)
    flow["second"] = np.sort(rng.integers(0, seconds, count)) + START_S + OPEN_NS // SECOND_NS
    flow["slot"] = rng.choice(slots, count, p=share)
    flow = flow[np.unique(flow["second"] * slots + flow["slot"], return_index=True)[1]]
    sizes = rng.geometric(0.4, len(flow))
    buys = rng.random(len(flow)) < 0.5
    flow["bid"], flow["ask"] = np.where(buys, 0, sizes), np.where(buys, sizes, 0)
    expected = np.zeros(slots, EXPECTED)
    expected["votes_1"] = share * per_second * 82_800
    expected["votes_10"] = 2 * expected["votes_1"]
    expected["log_ratio_sd"], expected["sessions"] = 1.0, 20
    expected["log_ratio_quantiles"] = np.linspace(-2, 2, 7)
    score = scores.allocate_score(Profile(), slots, 1 << 18)
    score = scores.begin_session(score, OPEN_NS, np.linspace(0, 1, 277))
    scores.set_expected(score, expected, identities)
    return Market(score, identities, touch, flow)


@kernel
def run_instants(
    score: Score, identities: Records, touch: Records, flow: Records, begin: int, seconds: int
) -> int:
    """Hand over and score `seconds` seconds of flow from row `begin`; return the next row."""
    first = int(flow[begin]["second"])
    row = begin
    for second in range(first, first + seconds):
        instant_ns = (second + 1) * SECOND_NS
        while row < flow.shape[0] and flow[row]["second"] == second:
            entry = flow[row]
            note_flow(
                score, identities, entry["slot"], second, instant_ns, 0, entry["bid"], 0,
                entry["ask"],
            )  # fmt: skip
            row += 1
        if score_instant(score, instant_ns, identities, touch) != DONE:
            return -1
    return row


@kernel
def run_companions(score: Score, identities: Records, slots: int) -> float:
    """Ask both sides of the first `slots` slots for their companions; return a sum of answers."""
    found = 0.0
    for slot in range(slots):
        for side in range(2):
            found += in_step_share(score, identities, slot, side)
            found += companion_decades(score, identities, slot, side)
    return found


@kernel
def run_full(
    score: Score, identities: Records, touch: Records, instant_ns: int, rounds: int
) -> int:
    """Recompute all slots `rounds` times, an instant of 0.1 s apart; return the last status."""
    status = 0
    for n in range(rounds):
        mark_all_dirty(score)
        later_ns = instant_ns + n * SECOND_NS // 10
        status |= score_instant(score, later_ns, identities, touch)
    return status


def hand_overs(slots: int, seconds: int, per_second: float) -> tuple[Market, Records]:
    """Return a market at its open, and its flow as it was handed over second by second."""
    market = quiet_market(slots, seconds, per_second)
    rows = np.zeros(len(market.flow), HANDOVER)
    rows["instant_ns"] = (market.flow["second"] + 1) * SECOND_NS
    for name, source in (("second", "second"), ("slot", "slot"), ("bid_volume", "bid")):
        rows[name] = market.flow[source]
    rows["ask_volume"] = market.flow["ask"]
    return market, rows


def rows_between(flow: NDArray[np.void], first_s: int, last_s: int) -> int:
    """Return how many rows of flow lie between two seconds after the start."""
    seconds = flow["second"] - flow["second"][0]
    return int(((seconds >= first_s) & (seconds < last_s)).sum())
