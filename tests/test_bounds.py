"""The bounds: what they know, how they rank, and that knowing when is worth something."""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl
import pytest

from ifd_fast import bounds, null_ranks
from ifd_fast.known_rates import Known, activity_between, know, surprise
from ifd_fast.truth import RATES_SCHEMA, SEASON_SCHEMA
from tests.oracle import evidence as oracle
from tests.strategies_evaluation import CLOSE_NS, OPEN_NS, SECOND_NS, Row, tape_of

FIRST_S = OPEN_NS // SECOND_NS


def known_of(rows: list[Row]) -> Known:
    """Return what the generator says: 60 votes an hour each, half of it in the first hour."""
    rates = pl.DataFrame(
        [(100 + n, "", "CP"[n % 2], 20_000.0, "mid", 50.0, 1.0, 60.0, 90.0) for n in range(4)],
        schema=RATES_SCHEMA,
        orient="row",
    )
    opens = dt.datetime.fromtimestamp(OPEN_NS // SECOND_NS, dt.UTC)
    season = pl.DataFrame(
        {"start": [opens, opens + dt.timedelta(hours=1)], "activity": [0.5, 1.0]}
    ).cast(SEASON_SCHEMA)
    return know(tape_of(rows), rates, season)


def ordinary(seed: int) -> list[Row]:
    """Draw flow at the known rates, sides by chance."""
    generator = np.random.default_rng(seed)
    found: dict[tuple[int, int], list[int]] = {}
    for option in range(4):
        for at in generator.integers(1, 82_000, generator.poisson(60 * 22)):
            side = int(generator.integers(0, 2))
            found.setdefault((option, int(at)), [0, 0])[side] += 1
    return [
        (option, OPEN_NS + at * SECOND_NS, FIRST_S + at - 1, bid, ask)
        for (option, at), (bid, ask) in sorted(found.items())
    ]


def test_expected_votes_by_hand() -> None:
    """Half activity in the first hour, then one; the day's factor scales the rate."""
    known = known_of([])
    spans = activity_between(
        known,
        np.array([OPEN_NS, OPEN_NS + 1_800 * SECOND_NS]),
        np.array([OPEN_NS + 7_200 * SECOND_NS, OPEN_NS + 3_600 * SECOND_NS]),
    )
    assert spans.tolist() == [1_800 + 3_600, 900]
    assert known.votes_s.tolist() == [60 / 3_600] * 4
    assert known.slot_s.tolist() == [5] * 4
    assert known.edges_ns[-1] == CLOSE_NS


@pytest.mark.parametrize("case", [(20, 3, 2.0, 2.0), (5, 5, 1.0, 1.0), (60, 0, 0.5, 0.7)])
def test_surprise_is_the_rules(case: tuple[float, float, float, float]) -> None:
    """The surprise is the engine's own, whose oracle says so."""
    for channel, dispersion in enumerate((1.5, 1.0, 1.3, 1.4, 4.0)):
        x, y, mean_x, mean_y = (np.array([one], np.float64) for one in case)
        actual = surprise(x, y, mean_x, mean_y, dispersion)
        assert actual[0] == pytest.approx(oracle.surprise(*case, channel))


def test_ranks_are_shares_of_what_was_looked_at() -> None:
    """The rank of a null surprise is the share of blocks that had one as large, in decades."""
    tapes = [tape_of(ordinary(seed)) for seed in range(6)]
    known = [known_of(ordinary(seed)) for seed in range(6)]
    peaks = [
        bounds.find_peaks(tape, one, bounds.surprises(tape, one))
        for tape, one in zip(tapes, known, strict=True)
    ]
    ranks = null_ranks.pool_peaks(peaks)
    fresh = tape_of(ordinary(99))
    rows = bounds.rank_rows(bounds.surprises(fresh, known[0]), ranks)
    assert np.isfinite(rows.score).all()
    # the strongest of 18 tables, a tenth of whose blocks and sides were this session's
    assert 2.0 < rows.score.max() < 6.0


def test_a_planted_run_stands_out_to_both() -> None:
    """Forty children in ten minutes are beyond every null rank, more so to who knows when."""
    quiet = [ordinary(seed) for seed in range(6)]
    start_ns, end_ns = OPEN_NS + 20_000 * SECOND_NS, OPEN_NS + 20_600 * SECOND_NS
    planted = {(row[0], row[1]): row for row in ordinary(50)}
    for n in range(40):
        at = 20_001 + 15 * n
        planted[2, OPEN_NS + at * SECOND_NS] = (2, OPEN_NS + at * SECOND_NS, FIRST_S + at - 1, 0, 2)
    tape, known = tape_of(sorted(planted.values())), known_of([])
    nulls = [tape_of(rows) for rows in quiet]
    ranks = null_ranks.pool_peaks(
        [bounds.find_peaks(one, known, bounds.surprises(one, known)) for one in nulls]
    )
    spans = null_ranks.pool_peaks(
        [
            bounds.span_peaks(one, known, bounds.count_votes(one, known), start_ns, end_ns)
            for one in nulls
        ]
    )
    found = bounds.rank_rows(bounds.surprises(tape, known), ranks)
    best = found.score.argmax()
    assert (found.option[best], found.side[best]) == (2, 1)
    assert start_ns < found.instant_ns[best] <= end_ns + 300 * SECOND_NS
    values = bounds.rank_span(tape, known, bounds.count_votes(tape, known), start_ns, end_ns, spans)
    assert [int(one) for one in np.unravel_index(values.argmax(), values.shape)] == [2, 1]


def test_fisher_by_hand() -> None:
    """One rank is itself; two of two decades each are stronger than either, less than their sum."""
    assert null_ranks.combine([2.0]) == pytest.approx(2.0)
    assert null_ranks.combine([2.0, 2.0]) == pytest.approx(2.9914, abs=1e-3)
    assert null_ranks.combine([200.0, 200.0]) == pytest.approx(
        400 - np.log10(400 * np.log(10)), abs=1
    )
    assert null_ranks.combine([0.0, 0.0]) == 0.0
