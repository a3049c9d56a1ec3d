"""When the market counts as halted, from trading states of its instruments."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ifd_fast.halts import HaltWatch, is_market_halted
from ifd_fast.instruments import Instruments
from ifd_fast.live_states import State
from tests import strategies_quality as quality
from tests.live_server import Script, serving
from tests.strategies_instruments import define, status
from tests.strategies_interface import FUTURE, OPEN, SECOND
from tests.test_live_session import Run, live_header, message, records

pytestmark = pytest.mark.border


def chain(options: int) -> Instruments:
    """Return a future, id 100, and options on it, ids from 1."""
    found = Instruments()
    found.add_definition(define(100, "NQH6", "F"))
    for number in range(options):
        symbol = f"NQH6 C{21_000 + number}"
        found.add_definition(define(number + 1, symbol, "C", underlying="NQH6"))
    return found


@given(st.integers(1, 9), st.integers(0, 9))
def test_half_of_the_options_halt_it(options: int, halted: int) -> None:
    """Fewer don't, whoever they are."""
    found = chain(options)
    for number in range(min(halted, options)):
        found.note_status(status(number + 1, "N", 8))
    wanted = 2 * min(halted, options) >= options
    assert is_market_halted(found.identities, found.slots) == wanted


def test_their_future_halts_them() -> None:
    """And has them go on; told once each time."""
    found = chain(3)
    watch = HaltWatch(found)
    assert not watch.has_changed()
    found.note_status(status(100, "N", 8))
    assert watch.has_changed()
    assert watch.is_halted
    assert not watch.has_changed()
    found.note_status(status(100, "Y", 7))
    assert watch.has_changed()
    assert not watch.is_halted


def test_no_option_no_halt() -> None:
    """A future alone, an unknown id, and nothing at all."""
    found = Instruments()
    assert not is_market_halted(found.identities, found.slots)
    found.add_definition(define(100, "NQH6", "F"))
    found.note_status(status(100, "N", 8))
    found.note_status(status(7, "N", 8))
    assert not is_market_halted(found.identities, found.slots)


@pytest.mark.jit
def test_a_session_says_so() -> None:
    """While the future doesn't trade the session is halted; alerts go on, and then it is live."""
    begin = live_header() + b"".join(
        [message(0x17, 3, "Finished definition replay"), message(0x17, 3, "Finished statistics")]
    )
    at_ns = OPEN + 3_601 * SECOND
    halt, resume = (
        quality.status(at_ns, trading=trading, instrument_id=FUTURE) for trading in (False, True)
    )
    said = [threading.Event(), threading.Event()]

    def pieces() -> Iterator[bytes]:
        yield begin + b"".join(records()[:9])
        yield halt
        said[0].wait(60)
        yield resume
        said[1].wait(60)

    with serving(lambda _number, _told: Script(pieces(), "hold")) as gateway:
        run = Run(gateway.address, wall_ns=at_ns)
        run.until(lambda: run.session.state is State.HALTED, limit_s=60.0)
        assert run.session.may_alert
        said[0].set()
        run.until(lambda: run.session.state is State.LIVE)
        said[1].set()
        run.session.stop()
