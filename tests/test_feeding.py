"""Bytes fed in slices: nothing that the border does comes earlier or later for it.

Method: streams with runs of events around the length of a slice and of what the book looks ahead,
other records, new ids and scheduled actions between them, cut anywhere, against the oracle that
takes one record after the other.
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ifd_fast.engine import FlowEngine
from ifd_fast.errors import FormatError
from ifd_fast.framing import Framer
from ifd_kernels.feeding import SLICE
from ifd_kernels.layout import CONSUMED, PUBLISHED, RTYPE_SYSTEM
from tests.oracle import feeding as oracle
from tests.strategies_engine import FUTURE, OPEN, OPTION, SETTINGS, make_engine
from tests.strategies_wire import control, mbo

IDS = [OPTION, FUTURE, 7, 8, 9]
RUNS = [1, 1, 2, 7, 8, 9, SLICE - 1, SLICE, SLICE + 1, SLICE + 8, 2 * SLICE + 3]

runs = st.lists(
    st.tuples(
        st.sampled_from(RUNS), st.sampled_from(IDS), st.integers(0, 3), st.booleans(), st.booleans()
    ),
    max_size=8,
)


def build(parts: list[tuple[int, int, int, bool, bool]]) -> tuple[list[oracle.Item], bytes]:
    """Return the items of a stream and its bytes."""
    items: list[oracle.Item] = []
    data: list[bytes] = []
    now = OPEN
    for count, instrument_id, step, other, undefined in parts:
        now += step
        ts_recv = -1 if undefined else now
        one = mbo(instrument_id=instrument_id, action="N", ts_event=now, ts_recv=ts_recv % 2**64)
        items += [("event", instrument_id, ts_recv)] * count
        data += [one] * count
        if other:
            items.append(("other",))
            data.append(control(RTYPE_SYSTEM))
    return items, b"".join(data)


class Pausing(FlowEngine):
    """An engine that pauses every few events, as one does that looks at the state between them."""

    def _advance(self, stop: int) -> None:
        for pause in range(int(self.state.ring.cursor[CONSUMED]) + 100, stop, 100):
            super()._advance(pause)
            assert self.state.ring.cursor[CONSUMED] == pause
        super()._advance(stop)


class Border:
    """An engine whose border writes down what it does."""

    def __init__(
        self, schedule: list[int], instruments: int, kind: type[FlowEngine] = FlowEngine
    ) -> None:
        self.engine = make_engine(SETTINGS[0], instruments=instruments, kind=kind)
        self.done: list[Any] = []
        self.engine.on_records = lambda records: self.done.extend(
            ("other", self.applied) for _ in records
        )
        for ts_ns in schedule:
            self.engine.schedule(ts_ns, partial(self.note, ts_ns))

    @property
    def applied(self) -> int:
        """Events applied so far."""
        return int(self.engine.state.actions.sum())

    def note(self, ts_ns: int) -> None:
        """Write down a scheduled action."""
        self.done.append(("scheduled", ts_ns, self.applied))


@given(
    runs,
    st.lists(st.integers(OPEN - 1, OPEN + 12) | st.just(-1), max_size=3),
    st.lists(st.integers(0, 10**6), max_size=3),
    st.sampled_from([1, 16]),
    st.sampled_from([FlowEngine, Pausing]),
)
def test_the_border_acts_in_stream_order(
    parts: list[tuple[int, int, int, bool, bool]],
    schedule: list[int],
    cuts: list[int],
    instruments: int,
    kind: type[FlowEngine],
) -> None:
    """Other records, new ids and scheduled actions come after the same events as one by one."""
    items, data = build(parts)
    border = Border(schedule, instruments, kind)
    framer = Framer(border.engine.state.ring, 3)
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    for start, stop in pairwise(edges):
        border.engine.feed(framer, data[start:stop])
    framer.finish()
    ids = border.engine.instruments.identities["instrument_id"]
    actual = border.done, ids[: border.engine.instruments.slots].tolist(), border.applied
    assert actual == oracle.feed_bytes(items, schedule, [OPTION, FUTURE])
    cursor = border.engine.state.ring.cursor
    assert cursor[CONSUMED] == cursor[PUBLISHED]


def test_what_precedes_a_dead_end_is_applied() -> None:
    """Bytes that can't be walked stop the stream after every whole record before them."""
    _, data = build([(SLICE + 5, OPTION, 0, False, False)])
    border = Border([], 1)
    framer = Framer(border.engine.state.ring, 3)
    with pytest.raises(FormatError, match="a header alone has 16"):
        border.engine.feed(framer, data + bytes(64))
    assert border.applied == SLICE + 5
