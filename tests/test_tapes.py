"""Rolling sums, capped votes and episodes over a session's flow, against plain Python."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ifd_fast.tapes import Rows, cut_episodes, rolling, top_rows, votes_of
from tests.oracle import evaluation as oracle
from tests.strategies_evaluation import OPEN_NS, SECOND_NS, Row, flow_rows, tape_of


def rows_of(pairs: list[tuple[int, int, int, float]]) -> Rows:
    """Return rows of (option, side, instant_ns, score)."""
    return Rows(
        np.array([one[0] for one in pairs], np.int64),
        np.array([one[1] for one in pairs], np.int8),
        np.array([one[2] for one in pairs], np.int64),
        np.array([one[3] for one in pairs], np.float64),
    )


@given(flow_rows(), st.sampled_from([1, 60, 300]))
def test_rolling_sums_are_the_oracles(rows: list[Row], window_s: int) -> None:
    """Each row's window holds its option's rows in (t - w, t], those of the same instant too."""
    tape = tape_of(rows)
    actual = rolling(tape, tape.bid.astype(np.float64), window_s)
    assert actual.tolist() == oracle.rolling(rows, window_s, 3)


@given(flow_rows(), st.sampled_from([(1, 1), (10, 1), (1, 15)]), st.booleans())
def test_votes_are_the_oracles(rows: list[Row], way: tuple[int, int], paired: bool) -> None:
    """Votes are capped by clock slot and side; a leg's votes fall where its twin has the same."""
    cap, slot_s = way
    twins = [1, 0, 3, 2] if paired else [-1] * 4
    actual = votes_of(tape_of(rows), cap, slot_s, paired=paired)
    expected = oracle.votes(rows, cap, slot_s, twins)
    assert [tuple(one) for one in actual.tolist()] == [tuple(map(float, one)) for one in expected]


@given(
    st.lists(
        st.tuples(
            st.integers(0, 2), st.sampled_from([1, -1]),
            st.integers(0, 2_000).map(lambda at: OPEN_NS + at * SECOND_NS),
            st.integers(0, 9).map(float),
        ),
        max_size=40, unique_by=lambda one: one[:3],
    ),
    st.integers(0, 9),
)  # fmt: skip
def test_episodes_are_the_oracles(pairs: list[tuple[int, int, int, float]], threshold: int) -> None:
    """Rows above a threshold, of one option and side and less than 300 s apart, are one."""
    rows = rows_of(pairs)
    assert cut_episodes(rows, float(threshold)).tolist() == oracle.episodes(pairs, threshold)


@pytest.mark.parametrize("episodes", [1, 3, 10])
def test_top_rows_keep_every_higher_threshold(episodes: int) -> None:
    """What is left gives the same episodes as all rows, at every threshold above its lowest."""
    generator = np.random.default_rng(1)
    pairs = [
        (int(option), 1, OPEN_NS + int(at) * SECOND_NS, float(score))
        for option, at, score in zip(
            generator.integers(0, 9, 400), generator.integers(0, 40_000, 400),
            generator.gamma(2.0, 1.0, 400), strict=True,
        )
    ]  # fmt: skip
    rows = rows_of(pairs)
    kept = top_rows(rows, episodes)
    lowest = float(kept.score.min())
    assert len(cut_episodes(kept, lowest)) <= episodes
    for threshold in np.quantile(kept.score, [0.0, 0.3, 0.9]):
        expected = sorted(rows.instant_ns[cut_episodes(rows, float(threshold))])
        assert sorted(kept.instant_ns[cut_episodes(kept, float(threshold))]) == expected


def test_unlisted_instruments_are_left_out() -> None:
    """Flow of what is no listed option, a future say, is not on the tape."""
    tape = tape_of([(0, OPEN_NS + SECOND_NS, OPEN_NS // SECOND_NS, 1, 0), (7, OPEN_NS, 0, 5, 5)])
    assert tape.bid.tolist() == [1]
    assert tape.twin.tolist() == [1, 0, 3, 2]
