"""What a live session is doing, as people see it: a pure machine without a clock of its own.

Two things make a state. The *phase* is where the session stands: connecting, replaying, live,
recovering, down. *Conditions* show while it is live: lagging, stale, degraded, halted, the worst
one by that order.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

__all__ = ["Event", "State", "StateMachine"]


class State(StrEnum):
    """What a session is doing."""

    CONNECTING = "connecting"
    REPLAYING = "replaying"  # what was missed comes in, faster than it happened
    LIVE = "live"
    LAGGING = "lagging"  # records are late, or there is no room for them
    STALE = "stale"  # nothing is heard, not even a heartbeat
    RECOVERING = "recovering"  # plays its record, or the next connection is on its way
    HALTED = "halted"  # the exchange halted trading
    DEGRADED = "degraded"  # nobody makes the record durable
    DOWN = "down"  # stopped, or refused for good


class Event(StrEnum):
    """What happens to a session."""

    RESTARTED = "restarted"
    ACCEPTED = "accepted"
    CAUGHT_UP = "caught_up"
    LOST = "lost"
    STOPPED = "stopped"
    LATE = "late"
    IN_TIME = "in_time"
    NO_SPACE = "no_space"
    SPACE = "space"
    SILENT = "silent"
    HEARD = "heard"
    KEEPER_LOST = "keeper_lost"
    KEEPER_BACK = "keeper_back"
    HALTED = "halted"
    RESUMED = "resumed"


# phase -> event -> phase; an event that isn't here changes no phase.
_PHASES: Final = {
    State.CONNECTING: {
        Event.RESTARTED: State.RECOVERING,
        Event.ACCEPTED: State.REPLAYING,
        Event.STOPPED: State.DOWN,
    },
    State.REPLAYING: {
        Event.CAUGHT_UP: State.LIVE,
        Event.LOST: State.RECOVERING,
        Event.STOPPED: State.DOWN,
    },
    State.LIVE: {Event.LOST: State.RECOVERING, Event.STOPPED: State.DOWN},
    State.RECOVERING: {Event.ACCEPTED: State.REPLAYING, Event.STOPPED: State.DOWN},
    State.DOWN: {},
}
# What raises a condition, what lifts it, and what it is called; the worst first.
_CONDITIONS: Final = (
    (Event.SILENT, Event.HEARD, State.STALE),
    (Event.NO_SPACE, Event.SPACE, State.LAGGING),
    (Event.LATE, Event.IN_TIME, State.LAGGING),
    (Event.KEEPER_LOST, Event.KEEPER_BACK, State.DEGRADED),
    (Event.HALTED, Event.RESUMED, State.HALTED),
)
_OF_A_CONNECTION: Final = frozenset({Event.SILENT, Event.LATE})
_ALERTING: Final = frozenset({State.LIVE, State.HALTED})


class StateMachine:
    """Follows one session; every call says when, in the caller's monotonic ns.

    Attributes
    ----------
    state, since_ns
        What the session is doing, and since when.
    spent_ns
        How long it was in each state before.
    """

    def __init__(self, at_ns: int) -> None:
        """Begin connecting."""
        self.state = State.CONNECTING
        self.since_ns = at_ns
        self.spent_ns: dict[State, int] = {}
        self._phase = State.CONNECTING
        self._raised: set[Event] = set()

    def apply(self, event: Event, at_ns: int) -> State:
        """Take an event; return the state now."""
        self._phase = _PHASES[self._phase].get(event, self._phase)
        if event is Event.LOST:
            self._raised -= _OF_A_CONNECTION
        for raised_by, lifted_by, _ in _CONDITIONS:
            if event is raised_by:
                self._raised.add(event)
            elif event is lifted_by:
                self._raised.discard(raised_by)
        found = self._find()
        if found is not self.state:
            spent = self.spent_ns.get(self.state, 0)
            self.spent_ns[self.state] = spent + at_ns - self.since_ns
            self.state, self.since_ns = found, at_ns
        return self.state

    @property
    def may_alert(self) -> bool:
        """What is found now is of now, and durable: somebody may be woken for it."""
        return self.state in _ALERTING

    @property
    def may_tick(self) -> bool:
        """Silence means that nothing happened: time may pass without a record."""
        return self.state in {State.LIVE, State.HALTED, State.DEGRADED}

    def is_raised(self, event: Event) -> bool:
        """Say whether the condition that `event` raises has not been lifted since."""
        return event in self._raised

    def _find(self) -> State:
        if self._phase is not State.LIVE:
            return self._phase
        for raised_by, _, name in _CONDITIONS:
            if raised_by in self._raised:
                return name
        return State.LIVE
