"""Allocation and growth of the flow state: clock, buckets, panes, carried touches, row buffer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from ifd_fast.alignment import grow_rows, place_zeros
from ifd_fast.errors import ConfigError
from ifd_kernels.layout import BUCKET, PANE, SECOND_NS, UNDEF_PRICE
from ifd_kernels.pressure import AHEAD_LIMIT_NS, CARRY, CLOCK, COUNTERS, ROW, Flow

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["FACTS_WINDOW_S", "FlowSettings", "allocate_flow", "empty_slots", "grow_flow"]

FACTS_WINDOW_S: Final = 300  # the tumbling windows that baselines are made of
_FIRST_ROWS: Final = 4096


@dataclass(frozen=True)
class FlowSettings:
    """How event time is cut.

    FlowSettings()                                    tumbling windows of 300 s
    FlowSettings(window_s=60, window_step_s=60)       tumbling windows of a minute
    FlowSettings(window_s=300, window_step_s=60)      five minutes, each minute
    FlowSettings(lateness_ns=500_000_000)             seconds sealed half a second after their end
    """

    window_s: int = FACTS_WINDOW_S
    window_step_s: int = FACTS_WINDOW_S
    lateness_ns: int = SECOND_NS
    scoring_interval_ns: int = SECOND_NS

    def __post_init__(self) -> None:
        """Check the bounds; raise ConfigError that names key, value and bound."""
        if self.window_s < 1 or self.window_step_s < 1 or self.window_s % self.window_step_s:
            raise ConfigError(
                f"`window_step_s` must be a whole divisor of `window_s`, was "
                f"{self.window_step_s} with a window of {self.window_s} s. Use for example "
                f"{self.window_s}."
            )
        if self.lateness_ns < 0:
            raise ConfigError(f"`lateness_ns` must be 0 or more, was {self.lateness_ns}.")
        if self.scoring_interval_ns < 1:
            raise ConfigError(
                f"`scoring_interval_ns` must be above 0, was {self.scoring_interval_ns}."
            )

    @property
    def pane_s(self) -> int:
        """The greatest length of which both windows and facts are whole multiples, seconds."""
        return math.gcd(self.window_step_s, FACTS_WINDOW_S)

    @property
    def window_panes(self) -> int:
        """Panes in a report window."""
        return self.window_s // self.pane_s

    @property
    def facts_panes(self) -> int:
        """Panes in a facts window, 0 if the report's windows are the facts."""
        if self.window_s == self.window_step_s == FACTS_WINDOW_S:
            return 0
        return FACTS_WINDOW_S // self.pane_s

    @property
    def open_seconds(self) -> int:
        """Seconds that can be open at once, as a power of two."""
        return _power_of_two(self.lateness_ns // SECOND_NS + 3)

    @property
    def panes_kept(self) -> int:
        """Panes a slot keeps: the longest window and all that can be open, as a power of two.

        The first open pane ends the window that is emitted next; it is open for the lateness after
        its end, and a record may claim to be from a little after that.
        """
        span = max(self.window_panes, self.facts_panes)
        beyond_ns = self.lateness_ns + AHEAD_LIMIT_NS
        return _power_of_two(span + -(-beyond_ns // (self.pane_s * SECOND_NS)))


def _power_of_two(least: int) -> int:
    return 1 << (least - 1).bit_length()


def allocate_flow(settings: FlowSettings, sessions: NDArray[np.int64], capacity_slots: int) -> Flow:
    """Return an empty flow state for `capacity_slots` instruments.

    `sessions` (s, 2) holds opens and closes, ns UTC, sorted and disjoint. Raises ConfigError if
    one of them is not on a pane's edge.
    """
    pane_ns = settings.pane_s * SECOND_NS
    off_grid = np.flatnonzero((sessions % pane_ns != 0).any(axis=1))
    if off_grid.size:
        open_ns, close_ns = sessions[off_grid[0]]
        raise ConfigError(
            f"Sessions must begin and end on multiples of {settings.pane_s} s, was "
            f"{open_ns} to {close_ns} (ns UTC). Use a `window_step_s` that divides both."
        )
    flow = Flow(
        clock=np.zeros(1, CLOCK),
        buckets=_free_buckets(capacity_slots * settings.open_seconds),
        busy=np.zeros((settings.open_seconds, capacity_slots), np.int32),
        busy_count=np.zeros(settings.open_seconds, np.int64),
        fresh=np.zeros(capacity_slots * settings.open_seconds, np.int64),
        panes=_free_panes(capacity_slots * settings.panes_kept),
        carry=_empty_carry(capacity_slots),
        sessions=np.ascontiguousarray(sessions, np.int64),
        rows=np.zeros(max(_FIRST_ROWS, 2 * capacity_slots), ROW),
        counters=np.zeros(COUNTERS, np.int64),
    )
    clock = flow.clock[0]
    clock["watermark_ns"] = clock["observed_from_ns"] = clock["joined_session"] = -1
    clock["snapshot_ns"] = -1
    clock["lateness_ns"] = settings.lateness_ns
    clock["interval_ns"] = settings.scoring_interval_ns
    clock["pane_ns"] = pane_ns
    clock["window_panes"] = settings.window_panes
    clock["step_panes"] = settings.window_step_s // settings.pane_s
    clock["facts_panes"] = settings.facts_panes
    clock["open_mask"] = settings.open_seconds - 1
    clock["pane_mask"] = settings.panes_kept - 1
    return flow


def grow_flow(flow: Flow, capacity_slots: int) -> Flow:
    """Return `flow` with room for more instruments; nothing it holds changes."""
    old = flow.carry.shape[0]
    added = capacity_slots - old
    open_seconds = flow.busy.shape[0]
    panes_kept = flow.panes.shape[0] // old
    return flow._replace(
        buckets=grow_rows(flow.buckets, capacity_slots * open_seconds, _free_buckets(1)[0]),
        busy=np.concatenate([flow.busy, np.zeros((open_seconds, added), np.int32)], axis=1),
        fresh=grow_rows(flow.fresh, capacity_slots * open_seconds),
        panes=grow_rows(flow.panes, capacity_slots * panes_kept, _free_panes(1)[0]),
        carry=grow_rows(flow.carry, capacity_slots, _empty_carry(1)[0]),
        rows=grow_rows(flow.rows, len(flow.rows) + 2 * added),
    )


def empty_slots(flow: Flow, slots: NDArray[np.int64]) -> None:
    """Make `slots` (k,) those of instruments that never traded. All their seconds are sealed."""
    open_seconds, panes_kept = flow.busy.shape[0], flow.panes.shape[0] // flow.carry.shape[0]
    buckets = slots[:, None] * open_seconds + np.arange(open_seconds)
    panes = slots[:, None] * panes_kept + np.arange(panes_kept)
    flow.buckets[buckets] = _free_buckets(1)[0]
    flow.panes[panes] = _free_panes(1)[0]
    flow.carry[slots] = _empty_carry(1)[0]


def _free_buckets(count: int) -> NDArray[np.void]:
    buckets = place_zeros(count, BUCKET)
    buckets["second"] = -1
    return buckets


def _free_panes(count: int) -> NDArray[np.void]:
    panes = place_zeros(count, PANE)
    panes["pane"] = -1
    panes["mid2_open_1e9"] = UNDEF_PRICE
    return panes


def _empty_carry(count: int) -> NDArray[np.void]:
    carry = np.zeros(count, CARRY)
    carry["bid_price_1e9"] = carry["ask_price_1e9"] = UNDEF_PRICE
    carry["crossed_since_ns"] = -1
    return carry
