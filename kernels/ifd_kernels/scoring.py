"""The scoring instant: which strikes' flow is more one-sided than their history explains.

Every instant recomputes the slots whose facts changed, from rolling votes (`votes.py`), by the
formulas of `evidence.py` and the gates of `verdict.py`, and appends a row where an episode begins.
Buying and selling go through the same lines with their columns swapped.
"""

from __future__ import annotations

from typing import Final

from ifd_kernels._jit import kernel
from ifd_kernels.evidence import (
    DISPERSION_1,
    DISPERSION_10,
    MAX_SESSION_VOTES,
    MIN_DEVIATE,
    MIN_NET_1,
    MIN_NET_10,
    MIN_SESSION_VOTES,
    TODAY_PRIOR_1,
    TODAY_PRIOR_10,
    bounded,
    market_factor,
    season_share,
    surprise,
    today_factor,
)
from ifd_kernels.layout import (
    DONE,
    KIND_CALL,
    MARK_BAD_BOOK,
    MARK_HALTED,
    MARK_REBUILT,
    NEED_SIGNALS,
    SECOND_NS,
    TOUCH_REBUILT,
    TOUCH_SUSPECT,
    Integer,
    Records,
)
from ifd_kernels.mids import falls_while_sold, mark_mids
from ifd_kernels.signals import EXPECTED, OPENS_ALERT, OPENS_CANDIDATE, PROFILE, SIGNAL
from ifd_kernels.verdict import judge, score_record
from ifd_kernels.votes import (
    ALERTS,
    BLOCKS,
    CANDIDATES,
    DIRTY,
    DIRTY_DONE,
    EVALUATIONS,
    FAMILY,
    NOW,
    OBSERVED,
    OPEN,
    ROWS,
    SLOTS,
    TAIL_NS,
    WINDOWS_S,
    Score,
    advance_tails,
    can_score,
    note_flow,
)

__all__ = [
    "EXPECTED",
    "PROFILE",
    "SIGNAL",
    "Score",
    "note_flow",
    "refresh_family",
    "score_instant",
    "score_record",
]

# Columns of Score.best.
BEST_DEVIATE: Final = 0
BEST_WINDOW: Final = 1
BEST_CHANNEL: Final = 2
BEST_FOR: Final = 3
BEST_AGAINST: Final = 4
BEST_MEAN_FOR: Final = 5
BEST_MEAN_AGAINST: Final = 6
BEST_TODAY: Final = 7


@kernel
def session_votes(votes: float) -> float:
    """Return the expected votes of a session, never none."""
    return bounded(votes, MIN_SESSION_VOTES, MAX_SESSION_VOTES)


@kernel
def refresh_family(score: Score, identities: Records, slots: int) -> None:
    """Sum the expected votes of all calls and all puts that can be scored. O(n).

    To be called when slots, identities or expectations changed.
    """
    score.cursor[SLOTS] = slots
    score.levels[0] = 0.0
    score.levels[1] = 0.0
    family = 0
    for slot in range(slots):
        if can_score(identities, slot):
            kind = int(identities[slot]["kind"]) - KIND_CALL
            score.levels[kind] += session_votes(score.expected[slot]["votes_1"])
            family += 1
    score.cursor[FAMILY] = family


@kernel
def market_of(score: Score, slot: int, kind: int, window: int, side: int, own: float) -> float:
    """Return the market's factor for one side, without the slot itself.

    With the slot in, a strike that makes up most of its chain would raise its own bar.
    """
    share = score.shares[window]
    chain = score.chain
    own_bid = float(score.windows[slot, window, 0])
    own_ask = float(score.windows[slot, window, 1])
    own_side = own_ask if side == 1 else own_bid
    all_votes = 0.0
    for number in range(2):
        all_votes += float(chain[number, window, 0] + chain[number, window, 1])
    others = bounded(all_votes - (own_bid + own_ask), 0.0, 1e15)
    level = bounded(score.levels[0] + score.levels[1] - own, 0.0, 1e15)
    side_votes = bounded(float(chain[kind, window, side]) - own_side, 0.0, 1e15)
    half = bounded(score.levels[kind] - own, 0.0, 1e15) * share / 2.0
    return market_factor(side_votes, half, others, level * share)


@kernel
def weigh(score: Score, slot: int, kind: int, window: int, channel: int) -> None:
    """Weigh one window and channel of a slot; keep it if it is its side's strongest so far."""
    bid = float(score.windows[slot, window, 2 * channel])
    ask = float(score.windows[slot, window, 2 * channel + 1])
    side = 1 if ask > bid else 0
    larger = ask if side == 1 else bid
    smaller = bid if side == 1 else ask
    own = session_votes(score.expected[slot]["votes_1"])
    level = own if channel == 0 else session_votes(score.expected[slot]["votes_10"])
    prior = TODAY_PRIOR_1 if channel == 0 else TODAY_PRIOR_10
    today = today_factor(score.today[slot, channel], level * score.shares[4], prior)
    mean = level * score.shares[window] * today / 2.0
    mean_larger = mean * market_of(score, slot, kind, window, side, own)
    mean_smaller = mean * market_of(score, slot, kind, window, 1 - side, own)
    dispersion = DISPERSION_1 if channel == 0 else DISPERSION_10
    deviate = surprise(larger, smaller, mean_larger, mean_smaller, dispersion)
    if deviate > score.best[side, BEST_DEVIATE]:
        best = score.best[side]
        best[BEST_DEVIATE] = deviate
        best[BEST_WINDOW] = window
        best[BEST_CHANNEL] = channel
        best[BEST_FOR] = larger
        best[BEST_AGAINST] = smaller
        best[BEST_MEAN_FOR] = mean_larger
        best[BEST_MEAN_AGAINST] = mean_smaller
        best[BEST_TODAY] = today


@kernel
def weigh_slot(score: Score, slot: int, kind: int, concentration: float) -> None:
    """Find each side's strongest evidence over four windows and two channels.

    The gates are cheap and come first: two-sided or thin flow, nearly all slots, ends there.
    """
    score.best[0, BEST_DEVIATE] = 0.0
    score.best[1, BEST_DEVIATE] = 0.0
    for window in range(4):
        for channel in range(2):
            bid = int(score.windows[slot, window, 2 * channel])
            ask = int(score.windows[slot, window, 2 * channel + 1])
            net = ask - bid if ask > bid else bid - ask
            if net >= (MIN_NET_1 if channel == 0 else MIN_NET_10):
                if net >= concentration * (ask + bid):
                    weigh(score, slot, kind, window, channel)


@kernel
def persistence_of(score: Score, slot: int, side: int) -> float:
    """Return the share of active 60 s blocks of the last five that lean to the side."""
    active = 0
    leaning = 0
    for block in range(BLOCKS):
        this = score.blocks[slot, block, side]
        other = score.blocks[slot, block, 1 - side]
        if this + other > 0:
            active += 1
            if this > other:
                leaning += 1
    if active < 2:
        return 0.5
    return leaning / active


@kernel
def marks_of(score: Score, slot: int, identities: Records, touch: Records) -> int:
    """Return the quality marks of the slot: the engine's, the book's and the exchange's."""
    marks = int(score.marks[slot])
    state = int(touch[slot]["state"])
    if state & TOUCH_SUSPECT:
        marks |= MARK_BAD_BOOK
    if state & TOUCH_REBUILT:
        marks |= MARK_REBUILT
    if identities[slot]["halted"] != 0:
        marks |= MARK_HALTED
    return marks


@kernel
def fill_evidence(
    score: Score, slot: int, side: int, identities: Records, touch: Records, row: int
) -> None:
    """Write the evidence of one side of a slot into the row."""
    out = score.signals[row]
    best = score.best[side]
    out["instant_ns"] = score.cursor[NOW]
    out["slot"] = slot
    out["instrument_id"] = identities[slot]["instrument_id"]
    out["kind"] = identities[slot]["kind"]
    out["side"] = 2 * side - 1
    out["deviate"] = best[BEST_DEVIATE]
    out["window_s"] = WINDOWS_S[int(best[BEST_WINDOW])]
    out["cap"] = 1 if best[BEST_CHANNEL] == 0.0 else 10
    out["votes_for"] = best[BEST_FOR]
    out["votes_against"] = best[BEST_AGAINST]
    out["expected_for"] = best[BEST_MEAN_FOR]
    out["expected_against"] = best[BEST_MEAN_AGAINST]
    out["today"] = best[BEST_TODAY]
    out["bid_volume"] = score.volumes[slot, 0]
    out["ask_volume"] = score.volumes[slot, 1]
    out["bid_votes"] = score.windows[slot, 1, 0]
    out["ask_votes"] = score.windows[slot, 1, 1]
    out["paired_votes"] = score.paired[slot]
    out["persistence"] = persistence_of(score, slot, side)
    out["marks"] = marks_of(score, slot, identities, touch)
    twin = int(identities[slot]["twin_slot"])
    crush = twin >= 0 and falls_while_sold(score, slot, touch, side)
    out["crush"] = 1 if crush and falls_while_sold(score, twin, touch, side) else 0


@kernel
def open_episode(score: Score, slot: int, side: int, what: int, holds: bool) -> bool:
    """Return whether a row is due: it holds, and none was due within the cooldown.

    Taking the first and then each next one a cooldown later gives the largest number of rows so
    far apart, which can only fall when fewer instants hold: so each threshold acts one way. Rows
    of one run, over breaks shorter than the cooldown, share `began_ns`.
    """
    now = score.cursor[NOW]
    if not holds:
        if score.active[slot, side, what] == 1:
            score.active[slot, side, what] = 0
            score.ended_ns[slot, side, what] = now
        return False
    cooldown_ns = int(score.profile[0]["cooldown_ns"])
    if score.active[slot, side, what] == 0:
        score.active[slot, side, what] = 1
        if now - score.ended_ns[slot, side, what] >= cooldown_ns:
            score.began_ns[slot, side, what] = now
    if now - score.due_ns[slot, side, what] < cooldown_ns:
        return False
    score.due_ns[slot, side, what] = now
    return True


@kernel
def score_side(score: Score, slot: int, side: int, identities: Records, touch: Records) -> None:
    """Judge one side of a slot and append a row if an episode begins."""
    candidate = False
    alert = False
    row = score.cursor[ROWS]
    if score.best[side, BEST_DEVIATE] >= MIN_DEVIATE:
        fill_evidence(score, slot, side, identities, touch, row)
        judge(score.signals, row, score.expected, slot, score.profile, score.cursor[FAMILY])
        candidate = score.signals[row]["candidate"] == 1
        alert = score.signals[row]["alert"] == 1
    opens = 0
    if open_episode(score, slot, side, 0, candidate):
        score.cursor[CANDIDATES] += 1
        opens |= OPENS_CANDIDATE
    if open_episode(score, slot, side, 1, alert):
        score.cursor[ALERTS] += 1
        opens |= OPENS_ALERT
    if opens != 0:
        score.signals[row]["opens"] = opens
        score.signals[row]["alert"] = 1 if opens & OPENS_ALERT else 0
        score.signals[row]["episode_ns"] = score.began_ns[slot, side, 0]
        score.cursor[ROWS] = row + 1


@kernel
def begin_instant(score: Score, instant_ns: Integer, touch: Records) -> None:
    """Let all flow grow old up to the instant; take mids and the season's shares."""
    advance_tails(score, instant_ns)
    mark_mids(score, instant_ns, touch)
    open_ns = score.cursor[OPEN]
    for window in range(4):
        start_ns = instant_ns - WINDOWS_S[window] * SECOND_NS
        score.shares[window] = season_share(score.season, open_ns, start_ns, instant_ns)
    longest_ns = instant_ns - TAIL_NS[6]
    if score.cursor[OBSERVED] < 0:
        score.cursor[OBSERVED] = instant_ns
    oldest_ns = instant_ns - TAIL_NS[7]
    if oldest_ns < score.cursor[OBSERVED]:
        oldest_ns = score.cursor[OBSERVED]
    score.shares[4] = season_share(score.season, open_ns, oldest_ns, longest_ns)
    score.cursor[NOW] = instant_ns


@kernel
def score_instant(score: Score, instant_ns: Integer, identities: Records, touch: Records) -> int:
    """Score all slots whose facts changed since they were last scored; append signals.

    Facts change when flow is noted in the slot or its twin, and when an entry of the slot passes
    a tail. Returns DONE, or NEED_SIGNALS with slots left to score: take the rows (set cursor[ROWS]
    to 0) or grow `signals`, and call again with the same instant. O(slots changed).
    """
    if instant_ns != score.cursor[NOW]:
        begin_instant(score, instant_ns, touch)
    concentration = float(score.profile[0]["min_volume_concentration"])
    while score.cursor[DIRTY_DONE] < score.cursor[DIRTY]:
        if score.cursor[ROWS] + 2 > score.signals.shape[0]:
            return NEED_SIGNALS
        slot = int(score.dirty[score.cursor[DIRTY_DONE]])
        score.cursor[DIRTY_DONE] += 1
        score.is_dirty[slot] = 0
        score.best[0, BEST_DEVIATE] = 0.0
        score.best[1, BEST_DEVIATE] = 0.0
        if can_score(identities, slot):
            kind = int(identities[slot]["kind"]) - KIND_CALL
            weigh_slot(score, slot, kind, concentration)
        for side in range(2):
            running = score.active[slot, side, 0] != 0 or score.active[slot, side, 1] != 0
            if running or score.best[side, BEST_DEVIATE] >= MIN_DEVIATE:
                score_side(score, slot, side, identities, touch)
    score.cursor[EVALUATIONS] += score.cursor[DIRTY]
    score.cursor[DIRTY] = 0
    score.cursor[DIRTY_DONE] = 0
    return DONE
