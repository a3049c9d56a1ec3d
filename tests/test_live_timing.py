"""What is timed in a live session, from clocks that the test sets."""

from __future__ import annotations

import resource
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from ifd_fast import memory_lock
from ifd_fast.engine import FlowEngine
from ifd_fast.errors import UsageError
from ifd_fast.framing import allocate_ring
from ifd_fast.live_timing import Timing
from ifd_kernels.layout import F_BAD_TS_RECV, F_LAST, F_SNAPSHOT, PUBLISHED

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.border

MS = 1_000_000


def make(*, market_clock: bool = False) -> tuple[Timing, Any]:
    """Return a timing of an engine that is a ring alone, and the ring."""
    ring = allocate_ring(8)
    engine = SimpleNamespace(state=SimpleNamespace(ring=ring))
    return Timing(cast("FlowEngine", engine), market_clock=market_clock), ring


def receive(ring: Any, *received_ns: int) -> None:
    """Publish events that the sender had at these times."""
    for one in received_ns:
        ring.ts_recv_ns[int(ring.cursor[PUBLISHED]) % 8] = one
        ring.cursor[PUBLISHED] += 1


def test_each_record_waits_as_long_as_its_read() -> None:
    """From the return, and from the look before it, which is never later."""
    timing, ring = make()
    timing.set_wall(wall_ns=100 * MS, monotonic_ns=0)
    receive(ring, 101 * MS, 102 * MS)
    assert timing.take(heard_ns=5 * MS, looked_ns=2 * MS, now_ns=6 * MS)
    found = timing.describe()
    assert found["receive_to_state"]["count"] == found["arrival_to_state"]["count"] == 2
    assert found["receive_to_state"]["max_us"] == 1_000
    assert found["arrival_to_state"]["max_us"] == 4_000
    assert timing.lag_ns == 3 * MS
    assert found["sender_lag"]["max_us"] == 3_000


def test_no_record_no_time() -> None:
    """A heartbeat leaves everything as it was; a record without ts_recv has no lag."""
    timing, ring = make()
    assert not timing.take(heard_ns=5, looked_ns=0, now_ns=9)
    receive(ring, -1)
    assert not timing.take(heard_ns=5, looked_ns=0, now_ns=9)
    found = timing.describe()
    assert found["receive_to_state"]["max_us"] == found["arrival_to_state"]["max_us"] == 0.004
    assert found["sender_lag"]["count"] == 0


@pytest.mark.parametrize("flags", [F_SNAPSHOT, F_BAD_TS_RECV, F_SNAPSHOT | F_BAD_TS_RECV])
def test_what_no_clock_stands_for_has_no_lag(flags: int) -> None:
    """The lag stays that of the record before; the read is timed all the same."""
    timing, ring = make()
    timing.set_wall(wall_ns=100 * MS, monotonic_ns=0)
    ring.flags[:2] = F_LAST, flags | F_LAST
    receive(ring, 98 * MS)
    assert timing.take(heard_ns=0, looked_ns=0, now_ns=MS)
    receive(ring, 1 * MS)
    assert not timing.take(heard_ns=0, looked_ns=0, now_ns=MS)
    assert timing.lag_ns == 2 * MS
    found = timing.describe()
    assert found["sender_lag"]["count"] == 1
    assert found["receive_to_state"]["count"] == 2


def test_clocks_that_disagree_are_told() -> None:
    """A record from this machine's future is counted as such."""
    timing, ring = make()
    timing.set_wall(wall_ns=100 * MS, monotonic_ns=0)
    receive(ring, 150 * MS)
    timing.take(heard_ns=0, looked_ns=0, now_ns=1)
    assert timing.lag_ns == -50 * MS
    assert timing.describe()["sender_lag"]["negative"] == 1


def test_a_market_of_another_day_has_its_own_clock() -> None:
    """What came earliest sets it; the rest is late against that."""
    timing, ring = make(market_clock=True)
    timing.set_wall(wall_ns=10**18, monotonic_ns=0)
    for received_ns, heard_ns, lag_ns in [(7_000, 0, 0), (8_000, 3_000, 2_000), (9_900, 2_500, 0)]:
        receive(ring, received_ns)
        timing.take(heard_ns, 0, heard_ns)
        assert timing.lag_ns == lag_ns
    assert timing.wall_ns(0) == 7_400


def test_little_memory_to_lock_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would end a session in its middle."""
    (tmp_path / "status").write_text("Name:\tifd\nCapEff:\t0000000000000000\n")
    monkeypatch.setattr(memory_lock, "_STATUS", tmp_path / "status")
    monkeypatch.setattr(resource, "getrlimit", lambda _: (65_536, 65_536))
    with pytest.raises(UsageError, match=r"65,536 bytes are allowed.*ulimit -l unlimited"):
        memory_lock.lock_memory()


def test_who_may_lock_without_limit() -> None:
    """It is a capability that says so, whoever has it."""
    assert memory_lock.may_lock("CapEff:\t0000000000004000\n")
    assert memory_lock.may_lock("Uid:\t1000\nCapEff:\t000001ffffffffff\n")
    assert not memory_lock.may_lock("Uid:\t0\nCapEff:\t000001ffffffbfff\n")
    assert not memory_lock.may_lock("Uid:\t0\n")
