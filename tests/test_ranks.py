"""Ranks: look-ups equal to the oracle, tables filled from counts, and the null line."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ifd_fast import scores
from ifd_fast.handovers import allocate_tally
from ifd_fast.profiles import Profile
from ifd_fast.rank_tables import fill_tables, fit_line
from ifd_fast.ranking import make_limits, normal_ranks, unknown_ranking
from ifd_kernels import ranks as kernels
from tests.oracle import ranks as oracle
from tests.strategies_scoring import tables

votes = st.floats(0, 1e5)


@given(st.integers(0, 4), st.integers(0, 3), votes, st.floats(0, 40), st.floats(0, 3))
def test_a_rank_equals_its_oracle_and_rises(
    channel: int, window: int, usual: float, residual: float, more: float
) -> None:
    """Between nodes, at them and beyond the last; a larger residual never ranks lower."""
    table = tables()
    actual = kernels.rank_of(table, channel, window, usual, residual)
    assert actual == pytest.approx(oracle.rank_of(table, channel, window, usual, residual))
    assert kernels.rank_of(table, channel, window, usual, residual + more) >= actual
    assert kernels.bin_of(usual) == oracle.bin_of(usual)


@given(st.lists(st.tuples(st.floats(0, 16), st.integers(0, 5)), max_size=20))
def test_levels_are_counted_as_the_oracle_does(visits: list[tuple[float, int]]) -> None:
    """Any order of ranks and pauses opens the same episodes at every level."""
    score, tally = scores.allocate_score(Profile(), 1), allocate_tally(1)
    due: dict[int, int] = {}
    counts: dict[int, int] = {}
    now_ns = 0
    for rank, pause in visits:
        now_ns += 100 * pause
        score.best[0, 1, 0] = rank
        kernels.count_levels(score, tally, 0, 1, now_ns, 250)
        oracle.count_levels(rank, due, counts, now_ns, 250)
    actual = {int(n): int(tally.episodes[n]) for n in np.flatnonzero(tally.episodes)}
    assert actual == counts


def counted(residuals: Any, bin_: int = 6, channel: int = 0, window: int = 0) -> Any:
    """Return the tally of residuals in one bin."""
    tally = allocate_tally(1)
    for residual in residuals:
        kernels.count_residual(tally, channel, window, 10 ** ((bin_ - 5.9) / 2), float(residual))
    return tally


def test_a_table_is_the_share_as_large_with_an_exponential_tail() -> None:
    """Of 10,000 minutes with 1,000 exponential residuals: known where many, a line beyond."""
    residuals = [-math.log((n + 0.5) / 1000) for n in range(1000)]
    tally = counted(residuals)
    tally.samples[0, 0, 6] = 10_000
    ranks, filled = fill_tables(tally.residuals, tally.samples)
    assert filled == 1
    for residual in (1.0, 2.0, 3.0):
        share = sum(one >= residual for one in residuals) / 10_000
        actual = kernels.rank_of(ranks, 0, 0, 10**0.05, residual)
        assert actual == pytest.approx(-math.log10(share), abs=0.02)
    steep = np.diff(ranks[0, 0, 6])[20:] / 0.25
    assert steep == pytest.approx(np.full(len(steep), 1 / math.log(10)), rel=0.25)
    assert (ranks[0, 0] == ranks[0, 0, 6]).all()  # the other bins had nothing of their own
    assert (ranks[1] == 0).all()  # nothing is known of the other channels


def test_a_tail_is_no_lighter_than_a_normal_one() -> None:
    """Residuals that all are alike don't make a larger one impossible."""
    tally = counted([3.0] * 80)
    tally.samples[0, 0, 6] = 200_000
    ranks, _ = fill_tables(tally.residuals, tally.samples)
    assert kernels.rank_of(ranks, 0, 0, 1.1, 3.0) == pytest.approx(math.log10(2500), abs=0.01)
    at = kernels.rank_of(ranks, 0, 0, 1.1, 5.0) - kernels.rank_of(ranks, 0, 0, 1.1, 4.0)
    assert at == pytest.approx(4 / math.log(10), rel=0.01)


@given(st.lists(st.floats(0, 20), min_size=1, max_size=200), st.integers(0, 1000))
def test_tables_never_fall(residuals: list[float], silent: int) -> None:
    """Whatever was counted: finite, from 0, rising with the residual."""
    tally = counted(residuals)
    tally.samples[0, 0, 6] = silent
    ranks, _ = fill_tables(tally.residuals, tally.samples)
    assert np.isfinite(ranks).all()
    assert (ranks[..., 0] == 0).all()
    assert (np.diff(ranks, axis=-1) >= 0).all()


def test_a_tail_wants_more_minutes_of_a_longer_window() -> None:
    """Eighty minutes that all lie in three runs of 1800 s are no tail; of 60 s they are."""
    for window, expected in ((0, 1), (3, 0)):
        tally = counted([3.0] * 80, window=window)
        tally.samples[0, window, 6] = 100_000
        assert fill_tables(tally.residuals, tally.samples)[1] == expected


def test_a_rank_counts_runs_and_not_minutes() -> None:
    """As many minutes of 1800 s are a fifteenth of the runs of 60 s, and rank so much higher."""
    ranks = {}
    for window in (0, 3):
        tally = counted([1.0 + 0.004 * n for n in range(1000)], window=window)
        tally.samples[0, window, 6] = 100_000
        ranks[window], _ = fill_tables(tally.residuals, tally.samples)
    known = slice(1, 5)  # below both tails
    higher = ranks[3][0, 3, 6, known] - ranks[0][0, 0, 6, known]
    assert higher == pytest.approx(np.full(len(higher), math.log10(15)))


def test_a_channel_of_few_strikes_ranks_higher() -> None:
    """With a tenth of the strikes to open episodes, the same share of minutes is a decade rarer."""
    ranks = []
    for strikes in (1, 10):
        tally = counted([1.0 + 0.004 * n for n in range(1000)], channel=2)
        tally.samples[2, 0, 6] = tally.samples[2, 3, 6] = 10_000
        tally.samples[0, 3, 6] = strikes * 10_000
        ranks.append(fill_tables(tally.residuals, tally.samples)[0][2, 0])
    assert (ranks[0][:, 0] == ranks[1][:, 0]).all()
    assert ranks[1][:, 1:] - ranks[0][:, 1:] == pytest.approx(np.ones((14, 96)))


def test_thin_bins_are_joined_until_they_are_enough() -> None:
    """Two bins too thin for a tail rank as the one that both together are; far ones stay out."""
    many, few = [2.0 + 0.01 * n for n in range(100)], [2.0 + 0.025 * n for n in range(40)]
    tally = counted(few, 5)
    for bin_, residuals in ((6, few), (12, many)):
        tally.residuals[:] += counted(residuals, bin_).residuals
    tally.samples[0, 0, [5, 6, 12]] = 50_000
    ranks, filled = fill_tables(tally.residuals, tally.samples)
    alone = counted([*few, *few], 6)
    alone.samples[0, 0, 6] = 100_000
    expected, _ = fill_tables(alone.residuals, alone.samples)
    assert filled == 1
    assert (ranks[0, 0, 5:7] == expected[0, 0, 6]).all()
    assert (ranks[0, 0, 12] != expected[0, 0, 6]).any()


def test_the_line_is_found_again() -> None:
    """Episodes of a straight line give its numbers; too few give none."""
    levels = 0.5 + 0.1 * np.arange(kernels.LEVELS)
    episodes = np.round(20 * 10 ** (6.89 - 1.155 * levels)).astype(np.int64)
    line = fit_line(episodes, 20.0)
    assert line == pytest.approx((6.89, 1.155), rel=0.02)
    assert fit_line(episodes, 0.0) is None
    assert fit_line(np.zeros_like(episodes), 20.0) is None
    assert fit_line(np.full_like(episodes, 40), 20.0) is None


def test_without_history_nothing_is_ready() -> None:
    """Ranks are those of a normal tail, and the limits say so."""
    assert not unknown_ranking().ready
    rank = kernels.rank_of(normal_ranks(), 0, 0, 1.0, 3.0)
    assert rank == pytest.approx(-math.log10(0.5 * math.erfc(3 / math.sqrt(2))))
    limits = make_limits(ready=True, sessions=20.0, line=(6.89, 1.155))
    assert limits[0]["ready"] == 1
    described = unknown_ranking().describe(1.0)
    assert described["promised_false_alerts"] == 1.0
