"""Who hears of a signal: thresholds, the hour's limit, receivers that fail."""

from __future__ import annotations

import dataclasses
import datetime as dt
from functools import cache
from typing import Any

import pytest

from ifd_fast.detection import IFDv3Engine
from ifd_fast.distribution import LiveStreamingConfig, SignalDistributor
from ifd_fast.profiles import Profile
from ifd_fast.signals import InstitutionalSignalV3
from tests.strategies_interface import record

pytestmark = pytest.mark.usefixtures("fixed_weights")


@cache
def found() -> InstitutionalSignalV3:
    """Return a signal as the engine makes it."""
    profile = "ifd_v3_testing"
    signal = IFDv3Engine(profile).analyze_pressure_event(record())
    assert signal is not None
    return signal


def signal(confidence: float, second: float = 0) -> InstitutionalSignalV3:
    """Return a signal of this confidence, so many seconds later."""
    later = found().timestamp + dt.timedelta(seconds=second)
    return dataclasses.replace(found(), final_confidence=confidence, timestamp=later)


class Receiver:
    """A page and a pager that keep what they get."""

    def __init__(self) -> None:
        self.shown: list[float] = []
        self.alerted: list[float] = []

    def send_signal(self, one: InstitutionalSignalV3) -> None:
        """Keep one."""
        self.shown.append(one.final_confidence)

    def send_alert(self, one: InstitutionalSignalV3) -> None:
        """Keep one."""
        self.alerted.append(one.final_confidence)


class Broken(Receiver):
    """A page whose connection is gone."""

    def send_signal(self, one: InstitutionalSignalV3) -> None:
        """Fail."""
        self.shown.append(one.final_confidence)
        raise ConnectionError("gone")


def distributor(*receivers: Any, **keys: Any) -> SignalDistributor:
    """Return a distributor by a profile with these keys, to these receivers."""
    made = SignalDistributor(LiveStreamingConfig(Profile(**keys)), on_error=lambda *_: None)
    made.dashboard_clients += receivers
    made.alert_handlers += receivers
    return made


def test_the_seeds_thresholds() -> None:
    """Below .7 nobody hears of it, from .7 dashboards do, above .85 alert handlers as well."""
    receiver = Receiver()
    made = distributor(receiver)
    passed = [made.distribute_signal(signal(one)) for one in (0.69, 0.7, 0.85, 0.86, 1.0)]
    assert passed == [False, True, True, True, True]
    assert receiver.shown == [0.7, 0.85, 0.86, 1.0]
    assert receiver.alerted == [0.86, 1.0]
    assert made.withheld == {"below_threshold": 1, "beyond_hourly_limit": 0}
    config = LiveStreamingConfig()
    assert (config.min_confidence_threshold, config.alert_confidence_threshold) == (0.7, 0.85)
    assert config.max_signals_per_hour == 50
    assert SignalDistributor().config.max_signals_per_hour == 50


@pytest.mark.parametrize(
    ("key", "values", "counts"),
    [
        ("min_confidence_threshold", [0.0, 0.7, 0.95, 1.0], [(6, 2), (4, 2), (1, 1), (1, 1)]),
        ("alert_confidence_threshold", [0.0, 0.7, 0.85, 1.0], [(4, 4), (4, 3), (4, 2), (4, 0)]),
        ("max_signals_per_hour", [50, 3, 1, 0], [(4, 2), (3, 1), (1, 0), (0, 0)]),
    ],
)
def test_every_key_acts_one_way(
    key: str, values: list[float], counts: list[tuple[int, int]]
) -> None:
    """A stricter key passes fewer signals, or alerts on fewer, and never on more."""
    actual = []
    for value in values:
        receiver = Receiver()
        made = distributor(receiver, **{key: value})
        for confidence in (0.1, 0.69, 0.7, 0.85, 0.86, 1.0):
            made.distribute_signal(signal(confidence))
        actual.append((len(receiver.shown), len(receiver.alerted)))
    assert actual == counts
    assert actual == sorted(actual, reverse=True)


def test_the_hour_is_event_time() -> None:
    """Two in any hour: the third waits for the first to be an hour old; the clock plays no part."""
    receiver = Receiver()
    made = distributor(receiver, max_signals_per_hour=2)
    seconds = [0, 10, 3599, 3600, 3605, 3610]
    passed = [made.distribute_signal(signal(0.9, second)) for second in seconds]
    assert passed == [True, True, False, True, False, True]
    assert made.withheld["beyond_hourly_limit"] == 2


def test_a_broken_receiver_hurts_no_other() -> None:
    """It is reported with its signal, counted, and left out after three in a row."""
    errors: list[tuple[str, float]] = []
    broken, sound = Broken(), Receiver()
    made = distributor(broken, sound)
    made.on_error = lambda error, one: errors.append((str(error), one.final_confidence))
    for number in range(5):
        assert made.distribute_signal(signal(0.9, number))
    assert len(sound.shown) == 5
    assert broken.shown == [0.9] * 3
    assert len(broken.alerted) == 5
    assert errors == [("gone", 0.9)] * 3
    assert made.failures == 3


def test_receivers_come_and_go() -> None:
    """One that is added later gets what comes later, and one may take itself out."""
    made = distributor()
    assert made.distribute_signal(signal(0.9))

    class Once(Receiver):
        def send_signal(self, one: InstitutionalSignalV3) -> None:
            super().send_signal(one)
            made.dashboard_clients.remove(self)

    once, always = Once(), Receiver()
    made.dashboard_clients += [once, always]
    made.distribute_signal(signal(0.8, 1))
    made.distribute_signal(signal(0.9, 2))
    assert (once.shown, always.shown) == ([0.8], [0.8, 0.9])
