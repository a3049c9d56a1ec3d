"""Laws of the scorer that no single formula shows: order, types, far strikes, parts.

Method: sessions of runs, pauses and turning mids, with an instant at every second in which
anything changes, are scored twice; the second time the legs of each strike have changed places.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ifd_kernels.layout import DONE
from ifd_kernels.scoring import note_flow
from tests.oracle import votes
from tests.strategies_scoring import OPEN_NS, SECOND_NS, Session, sessions
from tests.test_scoring import at, bought, identities_of, plain_session, quiet, run, start

MINUTE_NS = 60 * SECOND_NS


def at_ages(session: Session) -> Session:
    """Return the session with an instant at each minute and each age of its flow."""
    given_steps = {step[0]: step for step in session.steps}
    first_ns, last_ns = min(given_steps), max(given_steps)
    times = {
        *given_steps,
        *range(first_ns // MINUTE_NS * MINUTE_NS + MINUTE_NS, last_ns, MINUTE_NS),
    }
    times |= {now_ns + age_s * SECOND_NS for now_ns in given_steps for age_s in votes.TAILS_S}
    steps: list[Any] = []
    mids: list[int | None] = []
    for now_ns in sorted(time for time in times if time <= last_ns):
        _, flows, mids = given_steps.get(now_ns, (now_ns, [], mids))
        steps.append((now_ns, flows, mids))
    return session._replace(steps=steps)


@st.composite
def turning_sessions(draw: st.DrawFn) -> Session:
    """Return a session of one strike whose legs both trade while their mids turn.

    Without a cooldown each instant at which a leg is judged shows.
    """
    after_s, steps = 20, [(20, bought(0, at(20), 12))]
    for _ in range(draw(st.integers(1, 6))):
        after_s += draw(st.sampled_from([20, 60, 61, 130]))
        leg, seconds = draw(st.integers(0, 1)), draw(st.sampled_from([0, 1, 12]))
        steps.append((after_s, bought(leg, at(after_s), seconds)))
    session = quiet(plain_session(cooldown_ns=0), *steps, (after_s + 700, []))
    mids = [draw(st.lists(st.integers(-2, 2), min_size=2, max_size=2)) for _ in session.steps]
    turned: list[Any] = [(*step[:2], both) for step, both in zip(session.steps, mids, strict=True)]
    return session._replace(steps=turned)


def other_leg(session: Session, slot: int) -> int:
    """Return the slot of the strike's other leg, or the slot itself."""
    twin = session.slots[slot]["twin"]
    return slot if twin is None else int(twin)


def legs_swapped(session: Session) -> Session:
    """Return the session with the legs of each strike listed the other way round."""
    places = [other_leg(session, slot) for slot in range(len(session.slots))]
    steps = [
        (
            instant_ns,
            [flow | {"slot": places[flow["slot"]]} for flow in flows],
            [mids[place] for place in places],
        )
        for instant_ns, flows, mids in session.steps
    ]
    return session._replace(
        slots=[session.slots[place] | {"twin": session.slots[slot]["twin"]}
               for slot, place in enumerate(places)],
        expected=[session.expected[place] for place in places],
        steps=steps,
    )  # fmt: skip


def types_swapped(session: Session) -> Session:
    """Return the session with each call defined as its put and each put as its call."""
    kinds = {1: 2, 2: 1}
    slots = [slot | {"kind": kinds.get(slot["kind"], slot["kind"])} for slot in session.slots]
    return session._replace(slots=slots)


def by_time(signals: Any) -> Any:
    """Return the signals by instant, instrument and side: within an instant slots have an order."""
    return signals[np.lexsort((signals["side"], signals["instrument_id"], signals["instant_ns"]))]


def check_same(session: Session, swapped: Session, mirrored: frozenset[str]) -> Any:
    """Hold both sessions' signals against each other in all but `mirrored`; return the first's."""
    expected, actual = by_time(run(session)), by_time(run(swapped))
    assert len(actual) == len(expected)
    for name in expected.dtype.names:
        if name not in mirrored:
            assert (actual[name] == expected[name]).all(), name
    return expected


@given(sessions(steps=4) | turning_sessions())
@settings(max_examples=40)
def test_the_order_of_instruments_changes_nothing(session: Session) -> None:
    """Whichever leg of a strike is listed first, the signals are the same to the last bit."""
    session = at_ages(session)
    check_same(session, legs_swapped(session), frozenset({"slot"}))


@given(sessions(steps=4) | turning_sessions())
@settings(max_examples=40)
def test_calls_defined_as_puts_give_the_same_signals(session: Session) -> None:
    """Of the other type, at the same instants, to the last bit, also listed the other way."""
    session = at_ages(session)
    swapped = types_swapped(session)
    check_same(session, swapped, frozenset({"kind", "delta_sign"}))
    check_same(session, legs_swapped(swapped), frozenset({"kind", "delta_sign", "slot"}))


FAR, FARTHER = (6, 7), (8, 9)  # legs of the strikes three and four from the first: no neighbours


def moved(session: Session, places: dict[int, int]) -> Session:
    """Return the session with each slot's flow and mids at another place."""
    steps = []
    for instant_ns, flows, mids in session.steps:
        there = list(mids)
        for slot, place in places.items():
            there[place] = mids[slot]
        to = [flow | {"slot": places.get(flow["slot"], flow["slot"])} for flow in flows]
        steps.append((instant_ns, to, there))
    return session._replace(steps=steps)


def without(session: Session, slots: tuple[int, ...]) -> Session:
    """Return the session without flow in these slots."""
    steps = [
        (instant_ns, [flow for flow in flows if flow["slot"] not in slots], mids)
        for instant_ns, flows, mids in session.steps
    ]
    return session._replace(steps=steps)


def signals_of(session: Session, slots: tuple[int, ...]) -> bytes:
    """Return the bytes of all signals of these slots."""
    found = run(session)
    return bytes(found[np.isin(found["slot"], slots)].tobytes())


@given(sessions())
@settings(max_examples=60)
def test_a_far_strike_acts_through_its_market_only(session: Session) -> None:
    """Whichever of two far strikes has the flow, a strike's signals are the same to the bit."""
    slots, expected = list(session.slots), list(session.expected)
    for slot, place in zip(FAR, FARTHER, strict=True):
        expected[place] = expected[slot]
        slots[place] = slots[place] | {key: slots[slot][key] for key in ("mapped", "marks")}
    session = without(session._replace(slots=slots, expected=expected), FARTHER)
    places = dict(zip((*FAR, *FARTHER), (*FARTHER, *FAR), strict=True))
    assert signals_of(moved(session, places), (0, 1)) == signals_of(session, (0, 1))


@given(sessions())
@settings(max_examples=60)
def test_what_is_no_option_acts_on_nothing(session: Session) -> None:
    """The future's own flow is in no market of calls or puts, and changes no option's signal."""
    options = tuple(range(len(session.slots) - 1))
    future = (len(session.slots) - 1,)
    assert signals_of(without(session, future), options) == signals_of(session, options)


@given(
    st.lists(
        st.tuples(
            st.integers(0, 1), st.integers(0, 1), st.integers(0, 2), st.sampled_from([1, 4, 15])
        ),
        max_size=12,
    )
)
@settings(max_examples=200)
def test_a_second_in_parts_is_paired_whole(parts: list[tuple[int, int, int, int]]) -> None:
    """In whatever parts and order both legs trade within a second, the pair drops all of it."""
    session = plain_session()
    score, identities = start(session, 2), identities_of(session)
    totals: dict[tuple[int, int], list[int]] = {}
    flows: list[dict[str, Any]] = []
    now_ns = OPEN_NS + at(10)
    for slot, side, second, size in parts:
        bucket = (slot, OPEN_NS // SECOND_NS + second)
        before = totals.get(bucket, [0, 0])
        after = [before[one] + size * (one == side) for one in range(2)]
        totals[bucket] = after
        both = {"bid": (before[0], after[0]), "ask": (before[1], after[1])}
        now_ns += SECOND_NS
        flows.append({"slot": slot, "second": bucket[1], "instant_ns": now_ns, **both})
        assert note_flow(score, identities, *bucket, now_ns, *both["bid"], *both["ask"]) == DONE
    twins = {0: 1, 1: 0}
    for slot in range(2):
        for place, cap in enumerate((1, 10)):
            expected = votes.votes(flows, slot, now_ns, (0, 300), cap, twins)
            assert score.windows[slot, 1, 2 * place : 2 * place + 2].tolist() == expected
        assert score.paired[slot] == votes.paired_votes(flows, slot, now_ns, twins)
