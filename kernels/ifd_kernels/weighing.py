"""Weighing: each side's strongest evidence in a slot, over four windows and three channels."""

from __future__ import annotations

from typing import Final

from ifd_kernels._jit import kernel, leaf
from ifd_kernels.evidence import (
    CHANNEL_A,
    CHANNEL_B5,
    CHANNEL_B15,
    CHANNEL_B60,
    CHANNEL_C,
    DISPERSION,
    GRAIN_LIMITS,
    GRAIN_S,
    MAX_SESSION_VOTES,
    MIN_NET,
    MIN_SESSION_VOTES,
    MIN_SHARE,
    TODAY_PRIOR,
    bounded,
    market_factor,
    market_level,
    season_at,
    surprise,
    today_factor,
)
from ifd_kernels.layout import KIND_CALL, SECOND_NS, Integer, Records
from ifd_kernels.ranks import Tally, bin_of, count_residual, rank_of
from ifd_kernels.score_state import (
    ANY_RANK,
    ANY_WINDOW,
    BEST_AGAINST,
    BEST_CHANNEL,
    BEST_DEVIATE,
    BEST_FOR,
    BEST_MEAN_AGAINST,
    BEST_MEAN_FOR,
    BEST_RANK,
    BEST_TODAY,
    BEST_WINDOW,
    COLUMNS,
    DIRTY,
    DIRTY_WEIGHED,
    EVIDENCE,
    FAMILY,
    LEANT,
    NOW,
    OBSERVED,
    OPEN,
    SLOTS,
    TAIL,
    TAIL_NS,
    TAILS,
    WINDOWS_S,
    Score,
)
from ifd_kernels.votes import advance_tails, can_score

__all__ = ["begin_instant", "refresh_family", "sample_minute", "weigh_dirty"]

HOUR_BINS: Final = 12  # of 300 s
# What history's residuals are gated by, whatever the profile asks: the least any profile of the
# package asks, so that no profile's gate makes its own residuals look rare. What a slot's flow says
# of other slots is gated by it too: a profile's own gate would take companions away from a maker's
# legs as it rises, and so raise alerts.
POOL_CONCENTRATION: Final = 0.3
USUAL_WINDOW: Final = 1  # 300 s: of usual votes, and looked into for steps where nothing is strong


@kernel
def session_votes(votes: float) -> float:
    """Return the expected votes of a session, never none."""
    return bounded(votes, MIN_SESSION_VOTES, MAX_SESSION_VOTES)


@kernel
def busiest_hour(score: Score) -> float:
    """Return the largest share of a session's votes that falls into an hour."""
    season = score.season
    most = 0.0
    for number in range(season.shape[0]):
        last = number + HOUR_BINS if number + HOUR_BINS < season.shape[0] else season.shape[0] - 1
        share = season[last] - season[number]
        most = share if share > most else most
    return most


@kernel
def refresh_family(score: Score, identities: Records, slots: int) -> None:
    """Sum the expected votes of all calls and all puts that can be scored. O(n).

    To be called when slots, identities or expectations changed; also tells which strikes are
    slow enough for channel B.
    """
    score.cursor[SLOTS] = slots
    score.cursor[LEANT] = 0
    score.levels[0] = 0.0
    score.levels[1] = 0.0
    family = 0
    hour = busiest_hour(score)
    for slot in range(slots):
        score.grain_s[slot] = 0
        if can_score(identities, slot):
            kind = int(identities[slot]["kind"]) - KIND_CALL
            votes = session_votes(score.expected[slot]["votes_1"])
            score.levels[kind] += votes
            family += 1
            for place in range(2, -1, -1):
                if votes * hour < GRAIN_LIMITS[place]:
                    score.grain_s[slot] = GRAIN_S[place]
    score.cursor[FAMILY] = family


@kernel
def begin_instant(score: Score, instant_ns: Integer) -> None:
    """Let all flow grow old up to the instant; take the season's shares."""
    score.cursor[LEANT] = 0
    advance_tails(score, instant_ns)
    open_ns = score.cursor[OPEN]
    until = season_at(score.season, open_ns, instant_ns)
    since = until
    for window in range(4):
        start_ns = instant_ns - WINDOWS_S[window] * SECOND_NS
        since = season_at(score.season, open_ns, start_ns)
        score.shares[window] = bounded(until - since, MIN_SHARE, 1.0)
    oldest_ns = instant_ns - TAIL_NS[7]
    if oldest_ns < score.cursor[OBSERVED]:
        oldest_ns = score.cursor[OBSERVED]
    oldest = season_at(score.season, open_ns, oldest_ns)
    score.shares[4] = bounded(since - oldest, MIN_SHARE, 1.0)  # today ends where 1800 s begin
    score.cursor[NOW] = instant_ns


@kernel
def channel_of(grain_s: int) -> int:
    """Return the rank channel of a grain of channel B."""
    if grain_s == GRAIN_S[0]:
        return CHANNEL_B60
    return CHANNEL_B15 if grain_s == GRAIN_S[1] else CHANNEL_B5


@kernel
def column_of(channel: int) -> int:
    """Return the first column of Score.windows of a channel."""
    if channel == CHANNEL_A:
        return 0
    return 2 if channel == CHANNEL_C else 4


@kernel
def level_of(score: Score, slot: int, channel: int) -> float:
    """Return the expected votes of a session in a channel, both sides."""
    if channel == CHANNEL_C:
        return session_votes(score.expected[slot]["votes_10"])
    votes = session_votes(score.expected[slot]["votes_1"])
    if channel == CHANNEL_A:
        return votes
    return votes * bounded(score.limits[0]["grain_shares"][channel - 1], 0.01, 1.0)


@kernel
def today_of(score: Score, slot: int, channel: int, level: float) -> float:
    """Return how busy the slot is today in a channel."""
    column = column_of(channel) // 2
    prior = TODAY_PRIOR[channel]
    return today_factor(float(score.today[slot, column]), level * score.shares[4], prior)


@kernel
def others_of(score: Score, slot: int, window: int, own: float) -> float:
    """Return the level of all other options: with the slot in, it would raise its own bar."""
    votes = -float(score.windows[slot, window, 0]) - float(score.windows[slot, window, 1])
    for number in range(2):
        votes += float(score.chain[number, window, 0] + score.chain[number, window, 1])
    level = bounded(score.levels[0] + score.levels[1] - own, 0.0, 1e15)
    return market_level(bounded(votes, 0.0, 1e15), level * score.shares[window])


@kernel
def market_of(
    score: Score, slot: int, kind: int, window: int, side: int, own: float, level: float
) -> float:
    """Return the market's factor for one side, without the slot itself."""
    votes = float(score.chain[kind, window, side] - score.windows[slot, window, side])
    half = bounded(score.levels[kind] - own, 0.0, 1e15) * score.shares[window] / 2.0
    return market_factor(bounded(votes, 0.0, 1e15), half, level)


@kernel
def measure(score: Score, slot: int, kind: int, window: int, channel: int) -> float:
    """Return the residual of a window and channel; `scratch` says of what, as Score.best does.

    scratch[BEST_RANK] is the expected votes that choose the rank's table, both sides.
    """
    column = column_of(channel)
    bid = float(score.windows[slot, window, column])
    ask = float(score.windows[slot, window, column + 1])
    side = 1 if ask > bid else 0
    larger = ask if side == 1 else bid
    smaller = bid if side == 1 else ask
    own = session_votes(score.expected[slot]["votes_1"])
    level = level_of(score, slot, channel)
    today = today_of(score, slot, channel, level)
    others = others_of(score, slot, window, own)
    mean = level * score.shares[window] * today
    mean_larger = mean * market_of(score, slot, kind, window, side, own, others) / 2.0
    mean_smaller = mean * market_of(score, slot, kind, window, 1 - side, own, others) / 2.0
    found = score.scratch
    found[BEST_RANK] = mean * others
    found[BEST_WINDOW] = window
    found[BEST_CHANNEL] = channel
    found[BEST_FOR] = larger
    found[BEST_AGAINST] = smaller
    found[BEST_MEAN_FOR] = mean_larger
    found[BEST_MEAN_AGAINST] = mean_smaller
    found[BEST_TODAY] = today
    found[BEST_DEVIATE] = surprise(larger, smaller, mean_larger, mean_smaller, DISPERSION[channel])
    return found[BEST_DEVIATE]


@kernel
def channel_at(grain_s: int, window: int, column: int) -> int:
    """Return the channel of a column of votes, -1 if it says nothing of that window.

    Channel B is for slow strikes, and not for 60 s where its votes last 15 s or more.
    """
    if column == 0:
        return CHANNEL_A
    if column == 2:
        return CHANNEL_C
    if grain_s == 0 or (window == 0 and grain_s >= GRAIN_S[1]):
        return -1
    return channel_of(grain_s)


@kernel
def passes(bid: int, ask: int, channel: int, concentration: float) -> bool:
    """Return whether the net votes are worth weighing, and one-sided enough."""
    net = ask - bid if ask > bid else bid - ask
    return net >= MIN_NET[channel] and net >= concentration * (ask + bid)


@leaf
def weigh_slot(score: Score, slot: int, kind: int, concentration: float) -> None:
    """Find each side's strongest evidence over four windows and three channels.

    The gates are cheap and come first: two-sided or thin flow, nearly all slots, ends there. A
    channel whose longest window is too thin is so in all, which lie inside it.
    """
    grain_s = int(score.grain_s[slot])
    least = min(concentration, POOL_CONCENTRATION)
    longest = score.windows[slot, 3]
    for column in range(0, COLUMNS, 2):
        channel = channel_at(grain_s, 3, column)
        most = longest[column] if longest[column] > longest[column + 1] else longest[column + 1]
        if channel < 0 or most < MIN_NET[channel]:
            continue
        for window in range(4):
            bid = int(score.windows[slot, window, column])
            ask = int(score.windows[slot, window, column + 1])
            net = abs(ask - bid)
            if net < MIN_NET[channel] or net < least * (ask + bid):
                continue
            if channel_at(grain_s, window, column) < 0:
                continue
            deviate = measure(score, slot, kind, window, channel)
            votes = score.scratch[BEST_RANK]
            rank = rank_of(score.ranks, channel, window, votes, deviate)
            best = score.best[slot, 1 if ask > bid else 0]
            if rank > best[ANY_RANK] and net >= POOL_CONCENTRATION * (ask + bid):
                best[ANY_RANK] = rank
                best[ANY_WINDOW] = window
            if rank > best[BEST_RANK] and net >= concentration * (ask + bid):
                for place in range(1, EVIDENCE):
                    best[place] = score.scratch[place]
                best[BEST_RANK] = rank


@kernel
def weigh_dirty(score: Score, identities: Records) -> None:
    """Weigh every slot whose facts changed. O(slots changed)."""
    concentration = float(score.profile[0]["min_volume_concentration"])
    while score.cursor[DIRTY_WEIGHED] < score.cursor[DIRTY]:
        slot = int(score.dirty[score.cursor[DIRTY_WEIGHED]])
        score.cursor[DIRTY_WEIGHED] += 1
        for side in range(2):
            score.best[slot, side, BEST_RANK] = 0.0
            score.best[slot, side, ANY_RANK] = 0.0
            score.best[slot, side, ANY_WINDOW] = USUAL_WINDOW
        if can_score(identities, slot):
            weigh_slot(score, slot, int(identities[slot]["kind"]) - KIND_CALL, concentration)


@kernel
def sample_means(score: Score, slot: int, tally: Tally, weight: int) -> None:
    """Count `weight` samples in each table that the slot's expected votes choose.

    Expected are history, today, and the level of the others, which no channel changes.
    """
    grain_s = int(score.grain_s[slot])
    own = session_votes(score.expected[slot]["votes_1"])
    others = score.scratch
    for window in range(4):
        others[window] = others_of(score, slot, window, own)
    for column in range(0, COLUMNS, 2):
        channel = channel_at(grain_s, 3, column)
        if channel < 0:
            continue
        level = level_of(score, slot, channel)
        today = today_of(score, slot, channel, level)
        for window in range(4):
            if channel_at(grain_s, window, column) >= 0:
                votes = level * score.shares[window] * today * others[window]
                tally.samples[channel, window, bin_of(votes)] += weight


@kernel
def sample_slot(score: Score, slot: int, kind: int, tally: Tally) -> None:
    """Count one minute's residuals of a slot; what is too thin in 1800 s is so in all windows."""
    grain_s = int(score.grain_s[slot])
    longest = score.windows[slot, 3]
    for column in range(0, COLUMNS, 2):
        channel = channel_at(grain_s, 3, column)
        most = longest[column] if longest[column] > longest[column + 1] else longest[column + 1]
        if channel < 0 or most < MIN_NET[channel]:
            continue
        for window in range(4):
            if channel_at(grain_s, window, column) < 0:
                continue
            counts = score.windows[slot, window]
            if passes(int(counts[column]), int(counts[column + 1]), channel, POOL_CONCENTRATION):
                deviate = measure(score, slot, kind, window, channel)
                if deviate > 0.0:
                    votes = score.scratch[BEST_RANK]
                    count_residual(tally, channel, window, votes, deviate)


@kernel
def sample_silent(score: Score, identities: Records, tally: Tally, weight: int) -> None:
    """Count samples of all slots that aren't dirty: one of those alike stands for all. O(n)."""
    tally.silent[:] = 0
    for slot in range(score.cursor[SLOTS]):
        if score.is_dirty[slot] == 0 and can_score(identities, slot):
            alike = int(tally.alike[slot])
            tally.silent[alike, 0] += 1
            tally.silent[alike, 1] = slot
    for alike in range(tally.silent.shape[0]):
        number = int(tally.silent[alike, 0])
        if number > 0:
            sample_means(score, int(tally.silent[alike, 1]), tally, weight * number)


@kernel
def sample_minute(score: Score, identities: Records, tally: Tally, weight: int) -> None:
    """Count one minute of all slots, with `weight` samples, if any, of each. O(slots with flow).

    The dirty slots are those with flow: they stay so until it is older than all that is weighed.
    """
    place = 0
    while place < score.cursor[DIRTY]:
        slot = int(score.dirty[place])
        if score.newest[slot] < score.cursor[TAIL + TAILS - 1]:
            score.is_dirty[slot] = 0
            score.cursor[DIRTY] -= 1
            score.dirty[place] = score.dirty[score.cursor[DIRTY]]
            continue
        place += 1
        if can_score(identities, slot):
            sample_slot(score, slot, int(identities[slot]["kind"]) - KIND_CALL, tally)
            if weight > 0:
                sample_means(score, slot, tally, weight)
    if weight > 0:
        sample_silent(score, identities, tally, weight)
