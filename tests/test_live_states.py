"""What a live session is doing: a table of events and states; and when it connects again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ifd_fast.live_backoff import Backoff
from ifd_fast.live_states import Event, State, StateMachine

pytestmark = pytest.mark.border

LIVE = ["accepted", "caught_up"]
TABLE = [
    ([], "connecting"),
    (["lost"], "connecting"),
    (["restarted"], "recovering"),
    (["restarted", "accepted"], "replaying"),
    (["restarted", "stopped"], "down"),
    (["accepted", "restarted"], "replaying"),
    ([*LIVE, "restarted"], "live"),
    (["accepted"], "replaying"),
    (["accepted", "lost"], "recovering"),
    (["accepted", "lost", "accepted"], "replaying"),
    (["accepted", "late"], "replaying"),
    (["accepted", "late", "caught_up"], "lagging"),
    (["accepted", "stopped"], "down"),
    (LIVE, "live"),
    ([*LIVE, "late"], "lagging"),
    ([*LIVE, "late", "in_time"], "live"),
    ([*LIVE, "no_space"], "lagging"),
    ([*LIVE, "no_space", "in_time"], "lagging"),
    ([*LIVE, "no_space", "space"], "live"),
    ([*LIVE, "silent"], "stale"),
    ([*LIVE, "late", "silent"], "stale"),
    ([*LIVE, "silent", "heard"], "live"),
    ([*LIVE, "silent", "lost"], "recovering"),
    ([*LIVE, "silent", "lost", *LIVE], "live"),
    ([*LIVE, "no_space", "lost", *LIVE], "lagging"),
    ([*LIVE, "halted"], "halted"),
    ([*LIVE, "halted", "keeper_lost"], "degraded"),
    ([*LIVE, "halted", "keeper_lost", "late"], "lagging"),
    ([*LIVE, "halted", "keeper_lost", "keeper_back"], "halted"),
    ([*LIVE, "halted", "resumed"], "live"),
    ([*LIVE, "stopped"], "down"),
    ([*LIVE, "lost", "stopped", "accepted"], "down"),
]


@pytest.mark.parametrize(("events", "state"), TABLE)
def test_events_lead_to_states(events: list[str], state: str) -> None:
    """Each line of the table ends in its state."""
    machine = StateMachine(0)
    for at_ns, event in enumerate(events):
        machine.apply(Event(event), at_ns)
    assert machine.state == state


@given(st.lists(st.sampled_from(list(Event)), max_size=30))
def test_alerts_are_for_what_is_now_and_durable(events: list[Event]) -> None:
    """Alerts leave in live and halted only; time is accounted for, to the last state."""
    machine = StateMachine(0)
    for at_ns, event in enumerate(events):
        machine.apply(event, at_ns)
    assert machine.may_alert == (machine.state in {State.LIVE, State.HALTED})
    assert machine.may_tick or machine.state not in {State.LIVE, State.HALTED, State.DEGRADED}
    assert sum(machine.spent_ns.values()) == machine.since_ns


@given(st.integers(0, 2**32), st.lists(st.integers(0, 10**9), min_size=1, max_size=40))
def test_waits_are_capped_and_never_too_often(seed: int, steps: list[int]) -> None:
    """Connections are 250 ms apart, waits at most 30 s, and a seed always draws the same."""
    backoffs, now_ns, tried_ns = (Backoff(seed), Backoff(seed)), 0, -(10**9)
    for step in steps:
        now_ns = max(now_ns, backoffs[0].due_ns)
        assert now_ns - tried_ns >= 250_000_000
        tried_ns = now_ns
        for one in backoffs:
            one.tried(now_ns)
        now_ns += step
        due = {one.lost(now_ns) for one in backoffs}
        assert len(due) == 1
        assert max(due) - now_ns <= 30 * 10**9


def test_waits_grow_until_a_connection_works() -> None:
    """Ten losses in a row wait long; one that worked begins anew; a limit waits ten seconds."""
    backoff = Backoff(1)
    waits = [backoff.lost(10**12) - 10**12 for _ in range(10)]
    assert waits[0] <= 250_000_000
    assert waits[-1] >= 15 * 10**9
    backoff.worked()
    assert backoff.lost(10**12) - 10**12 <= 250_000_000
    assert backoff.lost(10**12, limited=True) - 10**12 >= 10 * 10**9
