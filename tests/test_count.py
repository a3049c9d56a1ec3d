"""The count gate: what it compares, what it reads from valgrind, what it tells the one it stops."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.budget import BUDGET_FILE, MEASURES, compare, compare_versions, read, write
from bench.count import parse_dump
from bench.workloads import REGIONS, load_regions, region

BUDGET = {"instructions": 100.0, "data_reads": 30.0, "data_writes": 10.0, "ll_misses": 1.0}

DUMP = """\
version: 1
desc: Trigger: --dump-before=getpgid
events: Ir Dr Dw I1mr D1mr D1mw ILmr DLmr DLmw
fn=(1)
1 10 2 1
totals: 5000 900 300 7 6 5 4 3
"""


def test_five_per_cent_more_work_is_caught() -> None:
    """A deliberate +5 % of instructions is a fault that says what, how much and what to do."""
    actual = compare("book.apply", BUDGET | {"instructions": 105.0}, BUDGET)
    assert len(actual) == 1
    assert "book.apply: 105.000 instructions" in actual[0]
    assert "+5.0%" in actual[0]
    assert "--update --only book.apply" in actual[0]


def test_a_gain_asks_for_a_lower_budget() -> None:
    """Less work than the budget is a fault too, so that the next loss can't hide in it."""
    actual = compare("book.apply", BUDGET | {"data_reads": 27.0}, BUDGET)
    assert len(actual) == 1
    assert "Well done" in actual[0]


@pytest.mark.parametrize("measure", sorted(MEASURES))
@pytest.mark.parametrize("sign", [-1, 1])
def test_bounds_are_where_the_contract_has_them(measure: str, sign: int) -> None:
    """2 % for instructions, reads and writes, 10 % for misses: inside passes, beyond does not."""
    relative = 0.10 if measure == "ll_misses" else 0.02
    inside = BUDGET | {measure: BUDGET[measure] * (1 + sign * relative * 0.99)}
    beyond = BUDGET | {measure: BUDGET[measure] * (1 + sign * relative * 1.2)}
    assert compare("a.b", inside, BUDGET) == []
    assert len(compare("a.b", beyond, BUDGET)) == 1


def test_another_version_is_no_comparison() -> None:
    """Counts of another compiler are refused by name, with the way out."""
    actual = compare_versions({"numba": "0.69.0"}, {"numba": "0.68.1"})
    assert len(actual) == 1
    assert "numba is 0.69.0" in actual[0]
    assert "re-baseline" in actual[0]


def test_parse_dump_sums_last_level_misses() -> None:
    """Totals are read by the names of the events line; zeros left out at its end are zeros."""
    expected = {"instructions": 5000, "data_reads": 900, "data_writes": 300, "ll_misses": 4 + 3}
    assert parse_dump(DUMP) == expected
    with pytest.raises(ValueError, match="not a callgrind dump"):
        parse_dump("version: 1\n")


def test_budget_is_written_as_it_is_read(tmp_path: Path) -> None:
    """A written budget reads back equal; a missing one is empty."""
    path = tmp_path / "budget.json"
    assert read(path) == ({}, {})
    write({"numba": "0.68.1"}, {"b.x": BUDGET, "a.y": BUDGET}, path)
    assert read(path) == ({"numba": "0.68.1"}, {"a.y": BUDGET, "b.x": BUDGET})


def test_every_region_has_a_budget() -> None:
    """The committed budget and the registered regions name the same kernels."""
    actual = sorted(load_regions())
    expected = sorted(json.loads(BUDGET_FILE.read_text())["per_event"])
    assert actual == expected


def test_a_region_is_registered_once_and_has_events() -> None:
    """A second region of a name, or one without events, is refused."""
    name = next(iter(load_regions()))
    with pytest.raises(ValueError, match="registered twice"):
        region(name, events=1)
    with pytest.raises(ValueError, match="at least 1, was 0"):
        region("a.b", events=0)
    assert "a.b" not in REGIONS


@pytest.mark.jit
@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(load_regions()))
def test_a_region_runs(name: str) -> None:
    """Each region's work runs on fresh state, twice with the same result."""
    setup = load_regions()[name].setup
    first, second = setup()(), setup()()
    assert repr(first) == repr(second)
