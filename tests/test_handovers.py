"""A session scored again from its hand-overs: the same signals, and what history is made of.

Method: sessions of runs, pauses and turning mids are scored live; the log alone, drained as the
border drains it, must give the same bytes. The counts for the tables are compared with the oracle.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings

from ifd_fast import scores
from ifd_fast.handovers import (
    HANDOVERS_SCHEMA,
    allocate_tally,
    build_handovers,
    pack_entries,
    rescore,
    rescore_signals,
    take_handovers,
)
from ifd_fast.profiles import Profile
from ifd_kernels.layout import NEED_SIGNALS, NEED_VOTES
from ifd_kernels.rescoring import FOR_EPISODES, FOR_SAMPLES
from ifd_kernels.score_state import HEAD, KEPT, NEVER, VOTE, Score
from ifd_kernels.scoring import note_flow, score_instant
from tests.oracle import evidence, ranks
from tests.oracle import scoring as oracle
from tests.oracle.votes import WINDOWS_S
from tests.strategies_scoring import OPEN_NS, SECOND_NS, Session, sessions
from tests.test_scoring import (
    at,
    bought,
    expected_of,
    identities_of,
    plain_session,
    quiet,
    start,
    touch_of,
)


def live(session: Session, log: int = 64) -> tuple[Any, Any]:
    """Score the session as it comes; return its signals and its log, drained when it is full."""
    identities, taken = identities_of(session), []
    score = start(session, len(session.slots), log)
    score.cursor[KEPT] = 0
    scores.set_expected(score, expected_of(session.expected), identities)

    def mend(score: Score, status: int) -> Score:
        if status == NEED_VOTES and score.cursor[KEPT] < score.cursor[HEAD]:
            taken.append(take_handovers(score))
            return score
        assert status in (NEED_VOTES, NEED_SIGNALS)
        return scores.grow_score(score, status)

    for instant_ns, flows, mids in session.steps:
        touch = touch_of(mids)
        for flow in flows:
            handed = (flow["slot"], flow["second"], instant_ns, *flow["bid"], *flow["ask"])
            while status := note_flow(score, identities, *handed):
                score = mend(score, status)
        while status := score_instant(score, instant_ns, identities, touch):
            score = mend(score, status)
    return scores.take_signals(score), np.concatenate([*taken, take_handovers(score)])


def unmarked(session: Session) -> Session:
    """Return the session without quality marks, of which hand-overs say nothing."""
    return session._replace(slots=[slot | {"marks": 0} for slot in session.slots])


def at_open(session: Session) -> Score:
    """Return a scorer at the session's open."""
    score = start(session, len(session.slots), 16, 2)
    scores.set_expected(score, expected_of(session.expected), identities_of(session))
    return score


@pytest.mark.jit
@given(sessions())
@settings(max_examples=60)
def test_a_session_scored_again_gives_the_same_signals(session: Session) -> None:
    """From the log alone, to the last byte; volatility crushes included."""
    check_scored_again(session)


def test_the_turn_of_a_mid_is_no_flow_that_ages() -> None:
    """Noted at the mark 300 s after the flow, at which nothing was handed over, and never again."""
    session = plain_session(cooldown_ns=0)
    flows: tuple[tuple[int, list[Any]], ...] = (
        (20, bought(0, at(20), 12)),
        (21, bought(1, at(21), 1)),
        (920, []),
    )
    session = quiet(session, *flows)
    quotes: list[list[int | None]] = [[None, 0], [None, 1], [None, None]]
    steps = [(*step[:2], mids) for step, mids in zip(session.steps, quotes, strict=True)]
    signals = check_scored_again(session._replace(steps=steps))
    turned_ns = steps[0][0] + 300 * SECOND_NS
    assert turned_ns + 60 * SECOND_NS not in signals["instant_ns"]


def check_scored_again(session: Session) -> Any:
    """Hold the signals of the log alone against those of the session as it came; return them."""
    session = dense_session(unmarked(session))
    expected, entries = live(session)
    actual = rescore_signals(
        at_open(session),
        identities_of(session),
        pack_entries(entries),
        first_ns=OPEN_NS,
        stop_ns=max(step[0] for step in session.steps),
    )
    assert actual.tobytes() == expected.tobytes()
    return actual


def dense_session(session: Session) -> Session:
    """Return the session with an instant at every second, as live: no other change is told."""
    given_steps = {step[0]: step for step in session.steps}
    times = {*given_steps, *range(min(given_steps), max(given_steps), SECOND_NS)}
    steps: list[Any] = []
    mids: list[int | None] = [None] * len(session.slots)
    for now_ns in sorted(times):
        _, flows, mids = given_steps.get(now_ns, (now_ns, [], mids))
        steps.append((now_ns, flows, mids))
    return session._replace(steps=steps)


@given(sessions(steps=5))
@settings(max_examples=25)
def test_samples_are_the_oracles(session: Session) -> None:
    """Each minute's residuals and samples fall into the tables the oracle says."""
    last_ns = max(step[0] for step in session.steps)
    check_samples(session, min(last_ns, first_minute_ns(session) + 600 * SECOND_NS))


@given(sessions(steps=3))
@settings(max_examples=2)
def test_samples_of_what_has_fallen_silent_are_the_oracles(session: Session) -> None:
    """More than two hours on, nothing of the flow counts any more, and the strikes still do."""
    check_samples(session, first_minute_ns(session) + 9_000 * SECOND_NS)


def first_minute_ns(session: Session) -> int:
    """Return the minute in which the session's first flow lies."""
    return min(step[0] for step in session.steps) // (60 * SECOND_NS) * 60 * SECOND_NS


def check_samples(session: Session, stop_ns: int) -> None:
    """Hold all samples up to `stop_ns` against the oracle's."""
    session = unmarked(session)
    session = session._replace(profile=session.profile | {"min_volume_concentration": 0.3})
    _, entries = live(session)
    first_ns = first_minute_ns(session)
    tally = allocate_tally(1)
    rescore(
        at_open(session),
        identities_of(session),
        pack_entries(entries),
        first_ns=first_ns,
        stop_ns=stop_ns,
        purpose=FOR_SAMPLES,
        tally=tally,
    )
    residuals, samples = sampled(session, first_ns, stop_ns)
    assert counts_of(tally.residuals) == residuals
    assert counts_of(tally.samples) == samples


def counts_of(counts: Any) -> dict[Any, int]:
    """Return what was counted, by place."""
    return {tuple(map(int, place)): int(counts[tuple(place)]) for place in np.argwhere(counts)}


def scorer_of(session: Session) -> oracle.Scorer:
    """Return the oracle at the session's open."""
    return oracle.Scorer(
        session.slots, session.expected, session.season, OPEN_NS, session.profile,
        session.tables, session.limits,
    )  # fmt: skip


def sampled(session: Session, first_ns: int, stop_ns: int) -> tuple[Any, Any]:
    """Return the oracle's counts: every minute, slot, window and channel by itself."""
    residuals: dict[Any, int] = {}
    samples: dict[Any, int] = {}
    for now_ns in range(first_ns + 60 * SECOND_NS, stop_ns + 1, 60 * SECOND_NS):
        scorer = scorer_of(session)
        scorer.flows = [flow for step in session.steps if step[0] <= now_ns for flow in step[1]]
        for slot in filter(scorer.can_score, range(len(session.slots))):
            for window, window_s in enumerate(WINDOWS_S):
                for channel in scorer.channels(slot, window_s):
                    if now_ns % (600 * SECOND_NS) == 0:
                        mean, _, markets = scorer.means(slot, channel, window_s, now_ns)
                        key = (channel, window, ranks.bin_of(mean * markets[2]))
                        samples[key] = samples.get(key, 0) + 10
                    found = scorer.measured(
                        slot, channel, window_s, now_ns, oracle.POOL_CONCENTRATION
                    )
                    if found is not None and found["deviate"] > 0:
                        usual, deviate = found["usual"], found["deviate"]
                        ranks.count_residual(residuals, channel, window, usual, deviate)
    return residuals, samples


@given(sessions())
@settings(max_examples=25)
def test_episodes_fall_with_the_rank(session: Session) -> None:
    """A higher rank is reached by fewer episodes, and none by what is silent."""
    session = unmarked(session)
    _, entries = live(session)
    counts = []
    for rows in (pack_entries(entries), pack_entries(entries[:0])):
        tally = allocate_tally(len(session.slots))
        rescore(
            at_open(session),
            identities_of(session),
            rows,
            first_ns=OPEN_NS,
            stop_ns=max(step[0] for step in session.steps),
            purpose=FOR_EPISODES,
            tally=tally,
        )
        counts.append(tally.episodes)
    assert (np.diff(counts[0]) <= 0).all()
    assert counts[1].sum() == 0


def test_episodes_are_counted_as_alerts_are() -> None:
    """Each level opens one, again a cooldown later."""
    due: dict[int, int] = {}
    counts: dict[int, int] = {}
    for now_s, rank in ((0, 1.0), (100, 3.0), (299, 1.0), (300, 1.0)):
        ranks.count_levels(rank, due, counts, now_s * SECOND_NS, 300 * SECOND_NS)
    assert counts[0] == 2
    assert counts[20] == 1
    assert evidence.MIN_NET[evidence.A] == 4


def test_the_frame_says_what_was_handed_over() -> None:
    """Instants, ids and ages are those of the log; what no instant saw is left out."""
    score = scores.allocate_score(Profile(), 2, 4)
    score.cursor[KEPT] = 0
    score.log["instant_ns"] = [OPEN_NS + 5 * SECOND_NS, NEVER, 0, 0]
    score.log["second"] = OPEN_NS // SECOND_NS + 3
    score.log["slot"], score.log["bid_volume"] = 1, 7
    score.cursor[HEAD] = 2
    entries = take_handovers(score)
    assert len(entries) == 1
    assert len(take_handovers(score)) == 0
    day = dt.date(2026, 2, 2)
    frame = build_handovers(
        entries,
        np.array([11, 12], np.uint32),
        np.array([OPEN_NS + 10**12]),
        np.array([day], "datetime64[D]"),
    )
    assert frame.schema == HANDOVERS_SCHEMA
    assert frame.drop("instant").rows() == [(day, 12, 2, 7, 0, 0, 0)]
    assert frame["instant"].cast(pl.Int64).to_list() == [OPEN_NS + 5 * SECOND_NS]
    assert entries.dtype == VOTE
