"""Episodes of the scorer: when one begins, how long it lasts, and where its rows are written.

Goal: the rules by hand, one at a time; that kernels keep them on any stream is test_scoring.py's.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.test_scoring import at, bought, plain_session, quiet, run


@pytest.mark.parametrize(("cooldown_s", "count"), [(300, 1), (100, 2)])
def test_an_episode_goes_on_over_breaks_shorter_than_the_cooldown(
    cooldown_s: int, count: int
) -> None:
    """Buying, two minutes of two-sided flow that ends it, buying again."""
    turn = [flow | {"bid": flow["ask"], "ask": (0, 0)} for flow in bought(0, at(40), 14)]
    session = quiet(
        plain_session(cooldown_ns=at(cooldown_s), min_volume_concentration=0.3),
        (20, bought(0, at(20), 14)),
        (40, turn),
        (160, bought(0, at(160), 28)),
    )
    buys = [row for row in run(session) if row["side"] == 1]
    assert len(buys) == count


def test_a_row_is_written_where_an_episode_first_reaches_a_class() -> None:
    """.69 and, 40 s on, an alert; then, within its cooldown, what is of no higher class."""
    found = run(
        quiet(
            plain_session(),
            (20, bought(0, at(20), 5)),
            (60, bought(0, at(60), 14)),
            (100, bought(0, at(100), 14)),
        )
    )
    assert [row["opens"] for row in found] == [5, 6]
    assert 0.6 < found["final_confidence"][0] < 0.7
    assert found["final_confidence"][1] > 0.9
    strict = plain_session(min_pressure_ratio=1000.0)  # no alerts, but classes are reached
    gated = run(quiet(strict, (20, bought(0, at(20), 5)), (60, bought(0, at(60), 14))))
    assert [row["opens"] for row in gated] == [5, 4]


def test_an_episode_lasts_while_its_evidence_is_rare() -> None:
    """A candidate that comes back with its ratio is no new one; an hour later it is."""
    session = plain_session(cooldown_ns=at(300))
    weights = {"intercept": -9.0, "per_deviate": 6.0}  # no candidate without an unusual ratio
    session = session._replace(limits=session.limits | weights)
    flows = [(after_s, bought(0, at(after_s), 28)) for after_s in (40, 5_000)]
    again = (1_200, bought(0, at(1_200), 1, size=20))
    steps: list[tuple[int, list[Any]]] = [flows[0], (400, []), again, (3_100, []), flows[1]]
    first, back, new = run(quiet(session, *steps))
    assert [row["instant_ns"] - first["instant_ns"] for row in (back, new)] == [
        at(1_160),
        at(4_960),
    ]
    assert back["episode_ns"] == first["episode_ns"] == first["instant_ns"]
    assert new["episode_ns"] == new["instant_ns"]
