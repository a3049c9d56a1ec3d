"""`MBOStreamingClient`: windows through callbacks, the same however the bytes were cut."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ifd_fast.config import load_settings
from ifd_fast.credentials import Secret
from ifd_fast.errors import CredentialError, FormatError, TruncatedError, UsageError
from ifd_fast.histories import StoreHistory
from ifd_fast.metrics import PressureMetrics
from ifd_fast.replaying import replay
from ifd_fast.streaming import MBOStreamingClient
from tests.conftest import JIT_OFF
from tests.strategies_interface import (
    CALL,
    FUTURE,
    LATE,
    OPEN,
    PUT,
    SECOND,
    SMALL,
    definitions,
    event,
    fed,
    head,
    market,
    run,
    store,
)

KEY = "db-" + "Q7" * 14 + "z"


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    """Return a profile with everything at its smallest."""
    path = tmp_path / "small.toml"
    path.write_text(SMALL, "utf-8")
    return path


@pytest.fixture
def client(profile: Path) -> MBOStreamingClient:
    """Return a client that has seen nothing."""
    return MBOStreamingClient(profile=profile)


def keys(windows: list[PressureMetrics]) -> list[tuple[int, int]]:
    """Return the window's end in seconds since the open, and the instrument, of each."""
    return [
        (round(one.window_end.timestamp()) - OPEN // SECOND, one.instrument_id)
        for one in windows
        if one.window_end is not None
    ]


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """Return the data cut at these places."""
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:stop] for start, stop in pairwise(edges)]


def test_windows_come_out_in_order(client: MBOStreamingClient) -> None:
    """Each instrument's window comes once, by its end and then by instrument, with its trades."""
    windows = fed(client, [market()])
    assert keys(windows) == sorted(keys(windows))
    assert keys(windows)[:3] == [(3900, FUTURE), (3900, CALL), (3900, PUT)]
    bought = windows[1]
    assert (bought.bid_volume, bought.ask_volume, bought.total_trades) == (4, 300, 104)
    assert (bought.pressure_ratio, bought.dominant_side) == (75.0, "BUY")
    assert (bought.strike, bought.option_type, bought.underlying) == (20_000.0, "C", "NQH6")
    sold = windows[2]
    assert (sold.bid_volume, sold.ask_volume, sold.dominant_side) == (300, 0, "SELL")


def test_names_are_those_known_when_the_window_ended(client: MBOStreamingClient) -> None:
    """A definition that comes later names later windows; the first stays unmapped, grade F."""
    first, second = [one for one in fed(client, [market()]) if one.instrument_id == LATE]
    assert (first.symbol, first.option_type, first.quality) == ("", "", "F")
    assert (second.symbol, second.strike, second.quality) == ("NQH6 C20200", 20_200.0, "A")


def everything(profile: Path, chunks: Iterable[bytes]) -> list[str]:
    """Return all that both callbacks get, in order, with rolling signals scored by history."""
    history = StoreHistory(store(), load_settings(profile).profile)
    client = MBOStreamingClient(profile=profile, history=history)
    found: list[str] = []
    client.on_signal = lambda signal: found.append(repr(signal))
    return [*map(repr, fed(client, chunks)), *found]


@pytest.mark.skipif(JIT_OFF, reason="a kernel call a byte is for compiled kernels")
def test_byte_by_byte(profile: Path) -> None:
    """The stream in single bytes gives the callbacks that it gives in one piece."""
    whole = everything(profile, [market()])
    assert len(whole) > 20
    assert everything(profile, [bytes([one]) for one in market()]) == whole


@pytest.mark.jit  # with the compiler off it takes a minute, and test_framing cuts there as well
@given(st.lists(st.integers(0, 2**31), max_size=30))
@settings(max_examples=8)
def test_any_chunking(tmp_path_factory: pytest.TempPathFactory, places: list[int]) -> None:
    """However the stream is cut, each callback gets the same, in the same order."""
    path = tmp_path_factory.mktemp("chunks") / "small.toml"
    path.write_text(SMALL, "utf-8")
    data = market()
    whole = fed(MBOStreamingClient(profile=path), [data])
    assert repr(fed(MBOStreamingClient(profile=path), cut(data, places))) == repr(whole)


def test_the_same_windows_as_a_replay(client: MBOStreamingClient, tmp_path: Path) -> None:
    """The file replayed and its bytes fed give the same facts."""
    path = tmp_path / "market.dbn"
    path.write_bytes(market())
    expected = replay(path).windows
    windows = fed(client, [market()])
    assert len(windows) == len(expected)
    for name in ("symbol", "bid_volume", "ask_volume", "total_trades", "ofi"):
        actual = [getattr(one, name) or None for one in windows]
        assert actual == [value or None for value in expected[name]]


def test_windows_that_expire_together_are_all_delivered(tmp_path: Path) -> None:
    """One late record closes five windows of two instruments: ten callbacks, none lost."""
    path = tmp_path / "waiting.toml"
    path.write_text(
        f"[windows]\nwindow_s = 10\nwindow_step_s = 10\nlateness_s = 60.0\n{SMALL}", "utf-8"
    )
    client = MBOStreamingClient(profile=path)
    found: list[PressureMetrics] = []
    client.on_pressure_metrics = found.append
    trades = [event(3601 + 10 * n, one) for n in range(5) for one in (CALL, PUT)]
    client.feed(head() + definitions() + b"".join(trades))
    assert found == []
    client.feed(event(7200, FUTURE))
    ends = [3610, 3620, 3630, 3640, 3650]
    assert keys(found) == [(end, one) for end in ends for one in (CALL, PUT)]


def test_cut_short_windows_are_graded_f(client: MBOStreamingClient) -> None:
    """`flush` delivers what is open, at grade F; a second one does nothing."""
    found: list[PressureMetrics] = []
    client.on_pressure_metrics = found.append
    client.feed(head() + definitions() + event(3601))
    assert found == []
    client.flush()
    client.flush()
    assert [(one.ask_volume, one.quality) for one in found] == [(1, "F")]
    with pytest.raises(UsageError, match="flushed; make a new"):
        client.feed(b"")


def test_a_torn_end_is_an_error_that_loses_no_window(client: MBOStreamingClient) -> None:
    """A stream that ends inside a record raises, after its windows were delivered."""
    found: list[PressureMetrics] = []
    client.on_pressure_metrics = found.append
    client.feed((head() + definitions() + event(3601) + event(3602))[:-5])
    with pytest.raises(TruncatedError):
        client.flush()
    assert [one.total_trades for one in found] == [1]


def test_what_came_before_bad_bytes_is_delivered(client: MBOStreamingClient) -> None:
    """A record that can't be walked raises; the windows that ended before it are there."""
    found: list[PressureMetrics] = []
    client.on_pressure_metrics = found.append
    with pytest.raises(FormatError):
        client.feed(head() + definitions() + event(3601) + event(4000) + bytes(200))
    assert [one.total_trades for one in found] == [1]


def test_no_stream_at_all(client: MBOStreamingClient) -> None:
    """Other bytes are refused at once, half a header at the end."""
    with pytest.raises(FormatError, match="not a DBN stream"):
        MBOStreamingClient(profile=client.settings.name).feed(b"GET / HTTP/1.1")
    client.feed(head()[:50])
    with pytest.raises(TruncatedError, match="inside the DBN header"):
        client.flush()


def test_a_callback_that_raises(client: MBOStreamingClient) -> None:
    """It reaches `on_error` with its window, is counted, stops after three; windows go on."""
    errors: list[tuple[Exception, Any]] = []
    calls = []

    def fail(metrics: PressureMetrics) -> None:
        calls.append(metrics)
        raise ValueError("mine")

    client.on_pressure_metrics = fail
    client.on_error = lambda error, argument: errors.append((error, argument))
    client.feed(market())
    client.flush()
    assert len(calls) == 3
    assert [argument for _, argument in errors] == calls
    assert {str(error) for error, _ in errors} == {"mine"}
    assert client.callback_failures == {"on_pressure_metrics": 3}
    assert client.stopped_callbacks == ("on_pressure_metrics",)
    assert len(client.recent) > 0
    client.on_pressure_metrics = None
    assert client.on_pressure_metrics is None
    assert not client.stopped_callbacks


def test_one_failure_in_between_stops_nothing(client: MBOStreamingClient) -> None:
    """Without three in a row all windows come, and each failure is reported."""
    calls: list[int] = []
    errors: list[Exception] = []

    def sometimes(metrics: PressureMetrics) -> None:
        calls.append(metrics.instrument_id)
        if len(calls) % 3:
            raise ValueError("mine")

    client.on_error = lambda error, _: errors.append(error)
    client.on_pressure_metrics = sometimes
    client.feed(market())
    client.flush()
    assert len(calls) == 15
    assert len(errors) == client.callback_failures["on_pressure_metrics"] == 10


def test_a_callback_must_not_feed(client: MBOStreamingClient) -> None:
    """The stream can't go on inside its own callback; that is the callback's error."""
    errors: list[Exception] = []
    client.on_error = lambda error, _: errors.append(error)
    client.on_pressure_metrics = lambda _: client.feed(event(9000))
    client.feed(head() + definitions() + event(3601) + event(4000))
    assert [type(one) for one in errors] == [UsageError]
    assert "from a callback" in str(errors[0])


def test_recent_metrics_live_five_minutes(client: MBOStreamingClient) -> None:
    """What ended five minutes of event time ago is forgotten, what ended later is there."""
    trades = b"".join(event(3601 + 300 * n, CALL) for n in range(4))
    client.feed(head() + definitions() + trades)
    assert [one.total_trades for one in client.recent] == [1]
    assert keys(list(client.recent)) == [(4500, CALL)]
    assert client.recent.latest(PUT) is None


def test_a_later_window_may_be_long(tmp_path: Path) -> None:
    """Windows of another length and step come out as the profile says."""
    path = tmp_path / "long.toml"
    path.write_text(f"[windows]\nwindow_s = 600\nwindow_step_s = 300\n{SMALL}", "utf-8")
    data = head() + definitions() + b"".join(one for _, one in run(3601, 3)) + event(5400, FUTURE)
    windows = fed(MBOStreamingClient(profile=path), [data])
    assert keys(windows)[:2] == [(3900, CALL), (4200, CALL)]


def test_the_header_names_the_future(client: MBOStreamingClient) -> None:
    """Without any definition a future is known from the header's mappings, an option has none."""
    data = head() + event(3601, FUTURE) + event(3602, CALL) + event(4000, FUTURE)
    future, option = fed(client, [data])[:2]
    assert (future.symbol, future.option_type, future.quality) == ("NQH6", "F", "A")
    assert option.strike != option.strike
    assert option.symbol == "NQH6 C20000"


@pytest.mark.parametrize(
    "show",
    [repr, str, lambda client: repr(vars(client)), lambda client: f"{client.api_key:>40}"],
)
def test_the_key_is_never_shown(profile: Path, show: Callable[[MBOStreamingClient], str]) -> None:
    """The key comes out of `reveal` alone, and goes into no pickle."""
    client = MBOStreamingClient(KEY, ["NQ.OPT"], profile=profile)
    assert KEY not in show(client)
    assert isinstance(client.api_key, Secret)
    assert client.api_key.reveal() == KEY
    for keep in (pickle.dumps, copy.deepcopy):
        with pytest.raises(TypeError, match="not pickled"):
            keep(client.api_key)


def test_a_wrong_key_is_refused_unseen(profile: Path) -> None:
    """A key of another form is named by its length only."""
    with pytest.raises(CredentialError, match="found 12 characters") as caught:
        MBOStreamingClient("my-other-key", profile=profile)
    assert "my-other-key" not in str(caught.value)


def test_the_seeds_call(profile: Path) -> None:
    """`MBOStreamingClient(api_key, symbols)` subscribes to these, or to all 27 parents of NQ."""
    assert MBOStreamingClient(KEY, ["NQ.OPT"], profile=profile).symbols == ("NQ.OPT",)
    parents = MBOStreamingClient(profile=profile).symbols
    assert len(parents) == 27
    assert {"NQ.FUT", "NQ.OPT"} <= set(parents)
