"""The scoreboard's numbers by hand, and the run's check of itself."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from ifd_fast import scoreboard
from ifd_fast.evaluation import episodes_above, tune_threshold
from ifd_fast.evaluation_numbers import AT_OUR_RATE, check_clairvoyant, number_rows
from ifd_fast.matching import match_alerts
from ifd_fast.scoreboard import Board
from tests.strategies_evaluation import OPEN_NS, SECOND_NS, alerts_of, label, truth_of

TRUTH = truth_of(
    [
        label(1, 10, 1, 100, 400),
        label(2, 11, -1, 100, 400, tier="busy", children_filled=90),
        label(1, 10, 1, 100, 400, session=1),
        label(2, 11, 0, 50, 90, session=1, kind="straddle"),
        label(3, 12, -1, 100, 400, session=1, k=26.0, duration_s=60.0),
    ]
)
ALERTS = alerts_of(
    [(0, 10, 1, 160, 0.9), (1, 10, 1, 250, 0.8), (1, 10, 1, 300, 0.95), (1, 11, 1, 70, 0.7)]
)

CLAIMS = ALERTS.with_columns(pl.Series("signal_id", ["a", "b", "b", "c"]))


def test_reliability_counts_claims_and_peaks() -> None:
    """Every claim is a forecast; on the curve an episode stands once, at its highest claim."""
    actual = scoreboard.reliability(match_alerts(CLAIMS, TRUTH), [0, 1])
    assert actual["candidates"] == 4
    assert [one["count"] for one in actual["classes"]] == [0, 1, 1, 2]
    assert [one["threshold"] for one in actual["curve"]] == [0.95, 0.9, 0.7]
    assert [one["recall"] for one in actual["curve"]] == [0.25, 0.5, 0.5]
    assert [one["precision"] for one in actual["curve"]] == [1.0, 1.0, pytest.approx(2 / 3)]
    assert actual["area"] == 0.5


def test_recall_by_group() -> None:
    """Each group has its units, and the share of them that was found."""
    matched = {"ifd_fast": match_alerts(ALERTS, TRUTH)}
    rows = {(row["dimension"], row["value"]): row for row in scoreboard.recall_table(matched)}
    found = {key: (row["count"], row["columns"]["ifd_fast"]["value"]) for key, row in rows.items()}
    assert found["all", "all"] == (4, 0.5)
    assert found["tier at k = 10", "low"] == (2, 1.0)
    assert found["tier at k = 10", "busy"] == (1, 0.0)
    assert found["k", "25"] == (1, 0.0)
    assert found["duration", "1 min"] == (1, 0.0)
    assert found["side", "buy"] == (2, 1.0)
    assert found["children, busy", "80+"] == (1, 0.0)
    assert found["enough children", "busy 80+"] == (1, 0.0)
    assert found["tier at k = 10", "thin"] == (0, None)


def test_precision_and_causes() -> None:
    """A repeated alert counts neither way; the false one ran beside a straddle."""
    actual = scoreboard.precision(match_alerts(ALERTS, TRUTH), [0, 1])
    assert actual["value"] == pytest.approx(2 / 3)
    assert (actual["repeated"], actual["causes"]) == (1, {"straddle": 1})


def test_false_alerts_by_hand() -> None:
    """Three alerts in four null sessions: .75, with Garwood's ends, and a session's worst."""
    alerts = alerts_of([(7, 1, 1, 10, 0.9), (7, 2, 1, 10, 0.9), (9, 1, -1, 10, 0.9)])
    actual = scoreboard.false_alerts(alerts, [6, 7, 8, 9], 1.0)
    assert actual["realised"]["value"] == 0.75
    assert actual["exact"]["low"] == pytest.approx(0.6187 / 4, abs=1e-3)
    assert actual["exact"]["high"] == pytest.approx(8.7673 / 4, abs=1e-3)
    assert (actual["by_session"], actual["worst"]) == ([0, 2, 0, 1], 2.0)


def test_delays() -> None:
    """Delay runs from the episode's start; from evidence it may be negative."""
    matched = match_alerts(ALERTS, TRUTH)
    evidence = pl.DataFrame(
        {"session": [0, 1], "unit": [1, 1],
         "evidence_ns": [OPEN_NS + 150 * SECOND_NS, OPEN_NS + 260 * SECOND_NS]},
        schema={"session": pl.Int32(), "unit": pl.Int64(), "evidence_ns": pl.Int64()},
    )  # fmt: skip
    actual = scoreboard.delays(matched, evidence)
    assert actual["from_start_s"]["p50"] == pytest.approx((60 + 150) / 2)
    assert actual["from_evidence_s"]["p50"] == pytest.approx((10 - 10) / 2)
    assert actual["median_by_duration"] == [{"duration_s": 300.0, "median_s": 105.0}]


def test_threshold_is_tuned_to_the_budget() -> None:
    """The threshold is the lowest at which null sessions stay within the budget."""
    generator = np.random.default_rng(4)
    rows = [
        (session, int(generator.integers(0, 30)), 1, float(at), float(generator.gamma(2.0, 1.0)))
        for session in range(20)
        for at in range(0, 40_000, 400)
    ]
    frame, null = alerts_of(rows), list(range(20))
    for budget in (0.5, 1.0, 5.0):
        threshold = tune_threshold(frame, null, budget)
        assert episodes_above(frame, threshold).height <= budget * 20
        lower = frame.filter(pl.col("score") < threshold)["score"].to_numpy().max()
        assert episodes_above(frame, float(lower)).height > budget * 20


def test_a_rule_that_never_speaks_keeps_its_lowest_score() -> None:
    """Without any null row the lowest threshold is 0; without null sessions it is beyond all."""
    frame = alerts_of([(0, 1, 1, 10, 0.3)])
    assert tune_threshold(frame, [5], 1.0) == 0.0
    assert tune_threshold(frame, [], 1.0) == float("inf")


def row_of(count: int, **recall: float) -> dict[str, object]:
    """Return one recall row with the columns' values."""
    columns = {
        name: {"value": value, "low": value, "high": value} for name, value in recall.items()
    }
    return {"dimension": "k", "value": "10", "count": count, "columns": columns}


def test_a_beaten_clairvoyant_fails_the_run() -> None:
    """A column above the clairvoyant on a row of enough units is named with its numbers."""
    good = row_of(30, ifd_fast=0.5, clairvoyant=0.5)
    small = row_of(19, ifd_fast=0.9, clairvoyant=0.5)
    bad = row_of(20, ifd_fast=0.7, clairvoyant=0.5, zscore=0.1)
    assert check_clairvoyant([good, small]) == []
    (fault,) = check_clairvoyant([good, bad])
    assert fault == "k = 10: ifd_fast finds 70.0% of 20, the clairvoyant 50.0%."


def document_of(**changes: object) -> dict[str, object]:
    """Return a document with the least that the contract's rows need."""
    matched = {"ifd_fast": match_alerts(ALERTS, TRUTH)}
    document: dict[str, object] = {
        "false_alerts": scoreboard.false_alerts(ALERTS.head(0), list(range(10)), 1.0),
        "recall": scoreboard.recall_table(matched),
        "precision": scoreboard.precision(matched["ifd_fast"], [0, 1]),
        "reliability": scoreboard.reliability(match_alerts(CLAIMS, TRUTH), [0, 1]),
        "delay": {"after_finer_s": {"count": 9, "p50": 0.4, "p99": 0.9, "within": 1.0}},
        "scoring_interval_s": 1.0,
    }
    return {**document, **changes}


def test_rows_say_met_missed_or_unknown() -> None:
    """A row is met by its bound alone; what was not measured is neither met nor missed."""
    rows = {str(row["what"]): row for row in number_rows(document_of())}
    assert rows["false alerts a null session, 1 promised"]["met"] is True
    assert rows["recall at k = 10, low"]["met"] is True
    assert rows["recall at k = 10, busy"]["met"] is False
    assert rows["recall at k = 10, thin"]["met"] is None
    assert rows["delay after the evidence crosses, 99 % of alerts"]["met"] is True
    assert rows["buys / sells, calls / puts"]["met"] is None
    mirrored = document_of(mirrors={"differing": 1, "alerts": 9, "sessions": 3})
    rows = {str(row["what"]): row for row in number_rows(mirrored)}
    assert rows["buys / sells, calls / puts"]["met"] is False


def test_rivals_are_judged_at_our_false_alerts_and_bounds_at_the_promise() -> None:
    """A rival that finds as much with more false alerts isn't equal; a bound may have them."""
    names = {"zscore": 0.5, f"zscore{AT_OUR_RATE}": 0.3, "knows_rates": 0.7, "clairvoyant": 0.9}
    names[f"knows_rates{AT_OUR_RATE}"] = 0.6
    tier = {**row_of(30, ifd_fast=0.6, **names), "dimension": "tier at k = 10", "value": "mid"}
    recall = [row_of(30, ifd_fast=0.6, **names), tier]
    rows = {str(row["what"]): row for row in number_rows(document_of(recall=recall))}
    against = rows["at equal false alerts, k = 10, against zscore"]
    assert (against["met"], against["measured"]) == (True, "60 % against 30 %")
    known = rows["against knowing all rates, mid (clairvoyant)"]
    assert known["met"] is False
    assert known["measured"] == "60 % against 70 % (90 %); 60 % at our false alerts"


def test_columns_match_the_planted_sessions_only() -> None:
    """Alerts of null sessions find nothing and harm no column's recall."""
    null = alerts_of([(5, 10, 1, 160, 0.9)])
    board = Board({"a": pl.concat([ALERTS, null])}, ALERTS, TRUTH, [0, 1], [5], [0, 1])
    matched = scoreboard.match_columns(board)["a"]
    assert matched.alerts.height == ALERTS.height
