"""Signals against truth: by hand, and against the rule in plain Python."""

from __future__ import annotations

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from ifd_fast.matching import match_alerts, normalize_signals
from ifd_fast.signals import SIGNAL_SCHEMA
from tests.oracle import evaluation as oracle
from tests.strategies_evaluation import OPEN_NS, SECOND_NS, alerts_of, label, truth_of


def test_by_hand() -> None:
    """Instrument, side and time must agree; the window after the end counts, a second more not."""
    truth = truth_of([label(1, 10, 1, 100, 200), label(2, 11, -1, 100, 200)])
    alerts = alerts_of(
        [
            (0, 10, 1, 150, 0.9),
            (0, 10, -1, 150, 0.9),
            (0, 11, -1, 500, 0.9),
            (0, 11, -1, 500.1, 0.9),
            (0, 10, 1, 99.9, 0.9),
            (1, 10, 1, 150, 0.9),
        ]
    )
    matched = match_alerts(alerts, truth)
    assert matched.alerts["label_id"].to_list() == [1, None, 2, None, None, None]
    assert matched.units["delay_s"].to_list() == [50.0, 400.0]


def test_a_cluster_is_one_unit() -> None:
    """One member found is the cluster found; the other member's alert repeats it."""
    truth = truth_of(
        [label(n, 10 + n, 1, 100, 200, cluster=4) for n in (1, 2, 3)]
        + [label(4, 20, 1, 100, 200, session=1, cluster=4)]
    )
    alerts = alerts_of([(0, 12, 1, 150, 0.9), (0, 13, 1, 120, 0.9)])
    matched = match_alerts(alerts, truth)
    assert matched.alerts["unit"].to_list() == [1, 1]
    assert matched.alerts["repeated"].to_list() == [True, False]
    assert matched.units.select("session", "unit", "found", "members").rows() == [
        (0, 1, True, 3),
        (1, 4, False, 1),
    ]
    assert matched.units["delay_s"].to_list() == [20.0, None]


def test_what_a_false_alert_was() -> None:
    """A hard negative of the instrument is the cause, either side; a gap is everyone's."""
    truth = truth_of(
        [
            label(1, 10, 0, 100, 200, kind="straddle"),
            label(2, None, 0, 1_000, 1_010, kind="feed_gap"),
            label(3, 11, 1, 100, 200),
        ]
    )
    alerts = alerts_of(
        [(0, 10, -1, 150, 0.9), (0, 99, 1, 1_005, 0.9), (0, 99, 1, 50, 0.9), (0, 11, 1, 150, 0.9)]
    )
    causes = match_alerts(alerts, truth).alerts["cause"].to_list()
    assert causes == ["straddle", "feed_gap", "background", None]


@given(
    labels=st.lists(
        st.tuples(
            st.integers(0, 1), st.integers(10, 12), st.sampled_from([1, -1]),
            st.integers(0, 900), st.integers(1, 600),
        ),
        max_size=8,
    ),
    alerts=st.lists(
        st.tuples(
            st.integers(0, 1), st.integers(10, 12), st.sampled_from([1, -1]), st.integers(0, 2_000)
        ),
        max_size=12,
    ),
)  # fmt: skip
def test_same_as_oracle(
    labels: list[tuple[int, int, int, int, int]], alerts: list[tuple[int, int, int, int]]
) -> None:
    """Each alert matches the label that the rule names, or none."""
    truth = truth_of(
        [
            label(number, instrument, side, start, start + span, session=session)
            for number, (session, instrument, side, start, span) in enumerate(labels)
        ]
    )
    plain: list[dict[str, int | None]] = [
        {
            "label": number, "session": session, "instrument": instrument, "side": side,
            "start": OPEN_NS + start * SECOND_NS, "end": OPEN_NS + (start + span) * SECOND_NS,
        }
        for number, (session, instrument, side, start, span) in enumerate(labels)
    ]  # fmt: skip
    told = [(s, i, side, OPEN_NS + at * SECOND_NS) for s, i, side, at in alerts]
    expected = oracle.match(told, plain, 300.0)
    matched = match_alerts(alerts_of([(*one, 0.5) for one in alerts]), truth)
    assert matched.alerts["label_id"].to_list() == expected
    found = {one for one in expected if one is not None}
    assert set(matched.units.filter("found")["label_id"].to_list()) == found


def test_first_row_of_an_episode_stands_for_it() -> None:
    """Rows of one signal id become one alert, at the first instant, with its side."""
    blank: dict[str, object] = dict.fromkeys(SIGNAL_SCHEMA.names())
    rows = [
        blank
        | {
            "signal_id": name, "timestamp": OPEN_NS + at * SECOND_NS, "instrument_id": 10,
            "dominant_side": side, "final_confidence": score,
        }
        for name, at, side, score in (
            ("b", 700, "SELL", 0.9), ("a", 400, "BUY", 0.8), ("a", 100, "BUY", 0.7),
        )
    ]  # fmt: skip
    frame = normalize_signals(pl.DataFrame(rows, schema=SIGNAL_SCHEMA, orient="row"), 3)
    assert frame.rows() == [
        (3, 10, 1, OPEN_NS + 100 * SECOND_NS, 0.7),
        (3, 10, -1, OPEN_NS + 700 * SECOND_NS, 0.9),
    ]
