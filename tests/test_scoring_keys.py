"""Every scoring key of a profile acts, and one way only (design §7, rule 7)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.strategies_scoring import Session, sessions
from tests.test_scoring import at, bought, plain_session, quiet, run

KEYS: dict[str, list[Any]] = {
    "min_pressure_ratio": [1.0, 2.0, 20.0, 100.0],
    "min_volume_concentration": [0.0, 0.5, 0.95, 1.0],
    "min_time_persistence": [0.0, 0.5, 0.75, 1.0],
    "min_baseline_anomaly": [0.0, 5.0, 8.0, 10.0],
    "min_overall_confidence": [0.5, 0.9, 0.999, 1.0],
    "market_making_penalty": [0.0, 0.4, 0.8, 1.0],
    "-false_alerts_per_session": [-100.0, -1.0, -0.001, -1e-9],
    "min_data_quality": [0.0, 0.5, 0.9, 1.0],
    "lookback_days": [5.0, 20.0, 40.0, 100.0],
    "cooldown_ns": [0, at(60), at(300), at(1800)],
}


def many_runs() -> Session:
    """Return a session in which runs of all lengths and purities come and go."""
    steps = []
    for n in range(24):
        now = 20 + 150 * n
        steps.append((now, bought(n % 2, at(now), 6 + n % 9, 1 + n % 4, int(n % 5 == 0))))
        steps.append((now + 70, bought(n % 2, at(now + 70), n % 13, 1, n % 3)))
    session = quiet(plain_session(), *steps)
    session.slots[1]["marks"] = 512  # grade B
    return session


@pytest.mark.parametrize("key", KEYS)
def test_every_profile_key_acts_and_only_one_way(key: str) -> None:
    """Raising a key never gives more alerts, and at some value gives fewer."""
    session = many_runs()
    counts = [count_alerts(session, key, value) for value in KEYS[key]]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > counts[-1]


def count_alerts(session: Session, key: str, value: float) -> int:
    """Return the alerts of the session with a key at the value, negated for a key with a minus."""
    asked = {key.strip("-"): -value if key[0] == "-" else value}
    return int(run(session._replace(profile=session.profile | asked))["alert"].sum())


@pytest.mark.parametrize("maker_loss", [20.0, 35.0])
def test_a_stricter_gate_takes_no_companion_away(maker_loss: float) -> None:
    """The legs of a maker, each the other's companion, don't alert once less flow is weighed."""
    session = many_runs()
    session = session._replace(limits=session.limits | {"maker_loss": maker_loss})
    counts = [count_alerts(session, "min_volume_concentration", gate) for gate in (0.0, 0.5, 0.95)]
    assert counts == sorted(counts, reverse=True)


@given(sessions(), st.data())
@settings(max_examples=60)
def test_no_stricter_key_gives_more_alerts(session: Session, data: st.DataObject) -> None:
    """In any session, whatever the weights, and however the other keys stand."""
    key = data.draw(st.sampled_from(sorted(KEYS)))
    less, more = sorted(data.draw(st.lists(st.sampled_from(KEYS[key]), min_size=2, max_size=2)))
    assert count_alerts(session, key, more) <= count_alerts(session, key, less)
