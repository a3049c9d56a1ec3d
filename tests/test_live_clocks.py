"""A machine whose clock jumps an hour, and a reader that is slow: rows are those of the bytes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from ifd_fast.live_states import State
from tests.live_server import Script, Told, serving
from tests.strategies_interface import OPEN, SECOND, event
from tests.test_live_session import Run, live_header, message, records, replayed, resumed, same
from tests.test_live_streams import oracle

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.jit
HOUR = 3_600 * SECOND
LAST_S = 5_400  # of the market's last record, after the open
BEGIN = live_header() + message(0x17, 3, "Finished") * 2


class Steps:
    """A connection that sends its pieces one by one, each when a test says so.

    Attributes
    ----------
    pieces
        What it sends.
    before
        Bytes that the session has of other connections.
    """

    def __init__(self, *pieces: bytes) -> None:
        """Begin with nothing sent."""
        self.pieces = pieces
        self.before = 0
        self._gates = [threading.Event() for _ in pieces]

    def play(self, _number: int, _told: Told) -> Script:
        """Send what is let through."""
        return Script(self._let_through(), "hold")

    def send(self, run: Run, number: int) -> None:
        """Let the next piece through, and poll until all of it has come."""
        self._gates[number].set()
        wanted = self.before + sum(map(len, self.pieces[: number + 1]))
        run.until(lambda: run.session.counts["bytes"] == wanted)

    def _let_through(self) -> Iterator[bytes]:
        for gate, piece in zip(self._gates, self.pieces, strict=True):
            gate.wait(5)
            yield piece


def beat(second: float) -> bytes:
    """Return a heartbeat of the gateway's time, after the open."""
    return message(0x17, 0, "Heartbeat", OPEN + round(second * SECOND))


@pytest.mark.parametrize("jump_ns", [HOUR, -HOUR])
def test_a_clock_that_jumps_changes_nothing(tmp_path: Path, jump_ns: int) -> None:
    """Forth or back, in the middle: no state, no lag, no row; ticks follow the gateway alone."""
    stream = [*records(), event(LAST_S + 30)]
    half = len(stream) // 2
    steps = Steps(BEGIN, b"".join(stream[:half]), b"".join(stream[half:-1]), beat(LAST_S + 6),
                  stream[-1])  # fmt: skip
    with serving(steps.play) as gateway:
        run = Run(gateway.address, wall_ns=OPEN + LAST_S * SECOND)
        for number in (0, 1):
            steps.send(run, number)
        run.clock.offset_ns += jump_ns  # monotonic time goes on
        steps.send(run, 2)
        assert run.session.state is State.LIVE
        assert run.session.timing.lag_ns < SECOND
        run.clock.now_ns += 6 * SECOND
        steps.send(run, 3)
        assert run.engine.watermark_ns == OPEN + (LAST_S + 4) * SECOND
        steps.send(run, 4)
        found = run.finish()
    clean = oracle(stream, tmp_path)
    assert same(found.windows, clean.windows)
    assert found.rows_digest == clean.rows_digest
    assert replayed(run.record, 1_001).rows_digest == clean.rows_digest


@pytest.mark.parametrize("jump_ns", [HOUR, -HOUR])
def test_a_clock_that_was_wrong_and_is_set(tmp_path: Path, jump_ns: int) -> None:
    """An hour ahead all looks late, and nothing is alerted; behind nothing does.

    Once it is set right all is well with the records that follow, without another connection.
    """
    stream = [*records(), event(LAST_S + 1), event(LAST_S + 2), event(LAST_S + 3)]
    steps = Steps(BEGIN, b"".join(stream[:-3]), *stream[-3:])
    with serving(steps.play) as gateway:
        run = Run(gateway.address, wall_ns=OPEN + LAST_S * SECOND + jump_ns)
        for number in (0, 1, 2):
            steps.send(run, number)
        expected = State.LAGGING if jump_ns > 0 else State.LIVE
        assert run.session.state is expected
        assert run.session.may_alert == (jump_ns < 0)
        run.clock.offset_ns -= jump_ns  # somebody sets it right
        for number in (3, 4):
            run.clock.now_ns += SECOND
            steps.send(run, number)
        assert run.session.state is State.LIVE
        assert abs(run.session.timing.lag_ns) < 4 * SECOND
        assert run.session.counts["connections"] == 1
        found = run.finish()
    assert same(found.windows, oracle(stream, tmp_path).windows)


@pytest.mark.parametrize("jump_ns", [HOUR, -HOUR])
def test_a_reconnect_after_a_jump(tmp_path: Path, jump_ns: int) -> None:
    """What is asked for again goes by the feed's time, not by this machine's."""
    with serving(resumed([30_000], ["eof"])) as gateway:
        run = Run(gateway.address, wall_ns=OPEN + LAST_S * SECOND)
        run.until(lambda: run.session.counts["connections_lost"] == 1)
        run.clock.offset_ns += jump_ns
        run.until(lambda: run.session.state in {State.LIVE, State.LAGGING})
        found = run.finish()
    assert run.session.duplicates["duplicates"] > 0
    clean = oracle(records(), tmp_path)
    assert found.rows_digest == clean.rows_digest


def test_a_heartbeat_from_afar_ticks_no_further_than_the_clock() -> None:
    """A gateway whose clock is a day ahead carries no event time past this machine's."""
    steps = Steps(BEGIN, b"".join(records()), beat(LAST_S + 86_400))
    with serving(steps.play) as gateway:
        run = Run(gateway.address, wall_ns=OPEN + (LAST_S + 10) * SECOND)
        for number in range(3):
            steps.send(run, number)
        assert run.engine.watermark_ns <= OPEN + (LAST_S + 10) * SECOND
        run.session.stop()


def test_a_reader_at_a_tenth_of_the_speed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of ten looks one brings something, and little: nothing is lost, and it says so."""
    sent = BEGIN + b"".join(records())
    with serving(lambda _number, _told: Script([sent], "hold")) as gateway:
        run = Run(gateway.address, wall_ns=OPEN + LAST_S * SECOND)
        space, polls = run.record.space, [0]

        def little() -> memoryview:
            polls[0] += 1
            return space()[:997] if polls[0] % 10 < 2 else memoryview(b"")

        run.until(lambda: run.session.counts["connections"] == 1)
        monkeypatch.setattr(run.record, "space", little)
        states: set[State] = set()

        def is_done() -> bool:
            states.add(run.session.state)
            return run.session.counts["bytes"] == len(sent)

        run.until(is_done)
        monkeypatch.undo()
        found = run.finish()
    assert states == {State.REPLAYING, State.LAGGING, State.LIVE}
    assert found.rows_digest == oracle(records(), tmp_path).rows_digest
    assert run.session.counts["connections_lost"] == 0
