"""The rivals' rules: their formulas by hand, and what history means to them."""

from __future__ import annotations

import statistics
from collections.abc import Callable

import numpy as np
import pytest

from ifd_fast import rivals
from ifd_fast.original_rule import original
from ifd_fast.rivals import Past
from ifd_fast.tapes import Rows, Tape
from tests.strategies_evaluation import OPEN_NS, SECOND_NS, Row, tape_of

OPTIONS = 4
FIRST_S = OPEN_NS // SECOND_NS


def bought(option: int, at_s: int, contracts: int) -> Row:
    """Return a hand-over of contracts that lifted the ask."""
    return option, OPEN_NS + at_s * SECOND_NS, FIRST_S + at_s - 1, 0, contracts


def past_of(**changes: object) -> Past:
    """Return a history of nothing but what is given."""
    flat = np.zeros((OPTIONS, 23))
    fields: dict[str, object] = {
        "mean": flat, "sd": flat, "median": flat, "mad": flat,
        "open_interest": np.ones(OPTIONS), "last_ratio": np.full((20, OPTIONS), np.nan),
    }  # fmt: skip
    return Past(**{**fields, **changes})  # type: ignore[arg-type]  # fields of the test


def test_history_by_hand() -> None:
    """Mean, spread, median and deviation are over all windows of the hour, silent ones too."""
    nets = np.zeros((2, 1, rivals.BINS))
    nets[0, 0, :12] = [8, -8, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0]
    nets[1, 0, :12] = [6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6]
    past = rivals.make_past(nets, np.array([[20.0], [40.0]]), np.zeros((2, 1)))
    sample = [abs(float(one)) for one in nets[:, 0, :12].ravel()]
    assert past.mean[0, 0] == pytest.approx(statistics.mean(sample))
    assert past.sd[0, 0] == pytest.approx(statistics.stdev(sample))
    assert past.median[0, 0] == statistics.median(sample)
    middle = statistics.median(sample)
    assert past.mad[0, 0] == statistics.median(abs(one - middle) for one in sample)
    assert past.open_interest[0] == 5 * 30


def test_a_session_without_the_option_is_left_out() -> None:
    """NaN windows are no zeros: the mean is over the sessions that listed the option."""
    nets = np.full((2, 1, rivals.BINS), np.nan)
    nets[0] = 4.0
    past = rivals.make_past(nets, np.array([[10.0], [np.nan]]), np.full((2, 1), np.nan))
    assert past.mean[0, 0] == 4.0
    assert past.sd[0, 0] == 0.0
    assert past.open_interest[0] == 50.0


def test_zscore_and_mad_by_hand() -> None:
    """(|net| - centre) / spread of 300 s, the spread at least a contract; older flow is gone."""
    tape = tape_of([bought(0, 10, 9), bought(0, 200, 9), bought(0, 400, 9)])
    past = past_of(mean=np.full((OPTIONS, 23), 2.0), sd=np.full((OPTIONS, 23), 4.0),
                   median=np.full((OPTIONS, 23), 1.0), mad=np.full((OPTIONS, 23), 2.0))  # fmt: skip
    rows = rivals.zscore(tape, past)
    assert rows.score.tolist() == [(9 - 2) / 4, (18 - 2) / 4, (18 - 2) / 4]
    assert rivals.mad(tape, past).score[0] == pytest.approx((9 - 1) / (1.4826 * 2))
    assert rivals.zscore(tape, past_of()).score[0] == 9.0
    assert rows.side.tolist() == [1, 1, 1]


def test_net_root_by_hand() -> None:
    """Twenty single contracts one way are worth root 20; one block of twenty is worth 1."""
    many = tape_of([bought(0, 1 + n, 1) for n in range(20)])
    assert rivals.net_root(many, past_of()).score[-1] == pytest.approx(20**0.5)
    block = tape_of([bought(0, 1, 20)])
    assert rivals.net_root(block, past_of()).score.tolist() == [1.0]


@pytest.mark.parametrize("rule", [rivals.zscore, rivals.mad, rivals.net_root])
def test_selling_mirrors_buying(rule: Callable[[Tape, Past], Rows]) -> None:
    """Swapped sides give the same scores for the other side."""
    rows = [bought(0, 10, 3), bought(1, 20, 7), bought(0, 100, 2)]
    swapped = [(option, at, second, ask, bid) for option, at, second, bid, ask in rows]
    one, other = (rule(tape_of(some), past_of()) for some in (rows, swapped))
    assert one.score.tolist() == other.score.tolist()
    assert (-one.side).tolist() == other.side.tolist()


def test_volume_oi_by_hand() -> None:
    """Contracts since the open over open interest, from 500 contracts on, always a buyer."""
    tape = tape_of([bought(0, 10, 400), bought(0, 9_000, 600)])
    rows = rivals.volume_oi(tape, past_of(open_interest=np.full(OPTIONS, 50.0)))
    assert (rows.score.tolist(), rows.side.tolist()) == ([20.0], [1])


def plain_original(ratios: list[float], history: list[float], day: int) -> float:
    """Return the baseline's confidence of the last window, by the published steps."""
    rows = [*history, ratios[-1]]
    if len(rows) < 5:
        return 0.5
    mean, sd = statistics.mean(rows), statistics.stdev(rows)
    z = (ratios[-1] - mean) / sd if sd else 0.0
    cuts = statistics.quantiles(rows, n=100)
    ranks = (10, 25, 50, 75, 90, 95, 99)
    rank = next((p for p in ranks if ratios[-1] <= cuts[p - 1]), 99)
    quality = min(1.0, len(rows) / max(1, min(20, day - 1)))
    if abs(z) >= 2 or rank >= 95:
        return (0.5 * min(abs(z) / 4, 1) + 0.5 * rank / 100) * quality
    return 0.5


def score_of(tape: Tape, past: Past) -> list[float]:
    """Return the original's confidences of option 0."""
    rows = original(tape, past)
    scores: list[float] = rows.score[rows.option == 0].tolist()
    return scores


def test_original_by_hand() -> None:
    """30 bought in 30 seconds: without history an anomaly counts nothing, its known defect."""
    tape = tape_of([bought(0, 1 + n, 1) for n in range(30)])
    significance = 0.5 * 1.0 + 0.3 * 30 / 1000 + 0.2 * 1.0
    raw = 0.4 * significance + 0.3 * 0.5 + 0.2 * 1.0 + 0.1 * 0.5
    expected = (0.4 * raw + 0.3 * 0.0) * (1 - 0.2 * 0.03) + 0.012
    assert score_of(tape, past_of()) == [pytest.approx(expected)]


def test_original_sees_history_and_the_window_before() -> None:
    """With 20 past ratios and an earlier window, trend, persistence and rank are the formula's."""
    generator = np.random.default_rng(2)
    history = generator.uniform(0.5, 2.0, (20, OPTIONS))
    first = [bought(0, 1 + n, 1) for n in range(4)]
    second = [bought(0, 301 + n, 1) for n in range(30)]
    scores = score_of(tape_of(first + second), past_of(last_ratio=history))
    day = 6  # the session that opens on the 4th, 23:00 UTC, closes on the 5th
    base = plain_original([4.0, 30.0], history[:, 0].tolist(), day - 1)
    trend, persistence = min(abs(30 - 4) / 4, 1.0), 1.0
    significance = 0.5 * 1.0 + 0.3 * 30 / 1000 + 0.2 * 1.0
    raw = 0.4 * significance + 0.3 * trend + 0.2 * 1.0 + 0.1 * persistence
    expected = (0.4 * raw + 0.3 * base) * (1 - 0.2 * 0.03) + 0.012
    assert scores[1] == pytest.approx(expected)


def test_original_has_its_ceiling_and_finds_no_seller() -> None:
    """Nothing reaches beyond .71, and a mirrored seller is far below: the defects are kept."""
    rows = [bought(0, 1 + n, 40) for n in range(290)] + [bought(0, 301 + n, 40) for n in range(290)]
    sold = [(option, at, second, ask, bid) for option, at, second, bid, ask in rows]
    history = past_of(last_ratio=np.full((20, OPTIONS), 1.0))
    assert max(score_of(tape_of(rows), history)) <= 0.7063 + 1e-4
    assert max(score_of(tape_of(sold), history)) < 0.5
