"""The fixed sample of the mutations; the whole is `python -m tests.mutations`."""

from __future__ import annotations

from tests.conftest import REDUCED
from tests.mutations import KINDS, run


def test_damaged_streams_lose_nothing() -> None:
    """Every byte of every damaged stream is accounted for, and every outcome occurs."""
    report = run(2_000 if REDUCED else 40_000, seed=7)
    assert set(report.streams) == set(KINDS)
    assert report.compared > 0
    assert len(report.outcomes) == 11
    assert all(count > 0 for count in report.outcomes.values())


def test_a_run_can_be_repeated() -> None:
    """The same seed makes the same changes."""
    assert run(500, seed=3).outcomes == run(500, seed=3).outcomes
