"""Universes: the packaged lists, what belongs to them, what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ifd_fast.definitions import Definition, Leg, decode_definitions
from ifd_fast.errors import ConfigError
from ifd_fast.universe import Universe, load_universe, packaged_universes
from ifd_kernels.layout import KIND_CALL, KIND_UNKNOWN
from tests.real_records import read_records
from tests.strategies_instruments import define


def spread(asset: str, *legs: Leg) -> Definition:
    return define(50, "UD:1V: VT 50", "S", asset=asset, leg_count=len(legs), legs=legs)


def leg(instrument_id: int, symbol: str) -> Leg:
    return Leg(0, instrument_id, symbol, KIND_CALL, "B", 1, 1, 0)


def test_nq_has_27_parents() -> None:
    """The future, quarterly, end of month, four Fridays, five of each other weekday."""
    universe = load_universe("nq")
    assert universe.root == "NQ"
    assert len(universe.parents) == 27
    assert len(set(universe.parents)) == 27
    assert universe.parents[0] == "NQ.FUT"
    weekdays = {f"Q{week}{day}" for week in range(1, 6) for day in "ABCD"}
    assert universe.products == {"NQ", "QNE", "QN1", "QN2", "QN3", "QN4", *weekdays}


def test_every_packaged_universe_loads() -> None:
    """NQ and ES come with the package."""
    assert packaged_universes() == ["es", "nq"]
    assert all(load_universe(name).dataset == "GLBX.MDP3" for name in packaged_universes())


@pytest.mark.parametrize(
    ("definition", "expected"),
    [
        (define(7, "NQM4", "F", asset="NQ"), True),
        (define(7, "MNQM4", "F", asset="MNQ"), False),
        (define(7, "ESM4", "F", asset="ES"), False),
        (define(1, "NQM4 C18000", "C", asset="NQ", underlying="NQM4"), True),
        (define(1, "QX9M4 C18000", "C", asset="QX9", underlying="NQM4"), True),
        (define(1, "MNQM4 C18000", "C", asset="MNQ", underlying="MNQM4"), False),
        (define(1, "Q2AM4 C18000", "C", asset="Q2A", underlying=""), True),
        (define(1, "EW2M4 C5000", "C", asset="EW2", underlying=""), False),
        (spread("NQ"), True),
        (spread("QNE"), True),
        (spread("ES"), False),
        (spread("??", leg(1, "Q2AM4 C18000")), True),
        (spread("??", leg(1, "NQM4")), True),
        (spread("??", leg(1, "EW2M4 C5000")), False),
        (define(1, "NQM4", ""), False),
    ],
)
def test_membership(definition: Definition, expected: bool) -> None:
    """Options follow their underlying, futures their root, spreads their product or legs."""
    assert load_universe("nq").belongs(definition) is expected


def test_spreads_are_judged_by_the_others() -> None:
    """A spread in a product nobody listed belongs if an option of the universe is of it too."""
    option = define(1, "QX9M4 C18000", "C", asset="QX9", underlying="NQM4")
    by_product, by_leg, foreign = spread("QX9"), spread("??", leg(1, "?")), spread("ZZ")
    universe = load_universe("nq")
    assert not universe.belongs(by_product)
    members = universe.members([by_product, foreign, by_leg, option])
    assert members == [by_product, by_leg, option]
    assert universe.members([foreign]) == []


def test_real_definitions_find_their_universe(real_data: Callable[[str], Path]) -> None:
    """A weekly on ESH6 and the ES options are ES; of ESM4 and NQM4 one is each."""
    es, nq = load_universe("es"), load_universe("nq")

    def count(name: str) -> tuple[int, int]:
        version, records = read_records(real_data(f"glbx/options/{name}"), 0x13)
        definitions = decode_definitions(records, version)
        return len(es.members(definitions)), len(nq.members(definitions))

    assert count("ew2f6-20260109.definition.dbn.zst") == (1, 0)
    assert count("esm4-nqm4-20240509.definition.dbn.zst") == (1, 1)
    assert count("esm4-puts-20240509.definition.dbn.zst") == (2, 0)
    assert count("es-2026.futures_spread.definition.v3.dbn.zst") == (1, 0)
    assert count("es-2026.option_spread.definition.v3.dbn.zst") == (0, 0)  # euro and corn


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    """Any root works from a file; what isn't said is the default."""
    path = tmp_path / "gold.toml"
    path.write_text('root = "GC"\nparents = ["GC.FUT", "OG.OPT"]\n')
    expected = Universe(root="GC", parents=("GC.FUT", "OG.OPT"))
    assert load_universe(path) == expected
    assert load_universe(str(path)).belongs(define(1, "OGM4 C2000", "C", underlying="GCM4"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('root = "GC"\nparents = ["GC.FUT"]\nlegs = 1\n', "legs"),
        ('root = "GC"\n', "parents"),
        ('root = 1\nparents = ["GC.FUT"]\n', "root"),
        ('root = "gc"\nparents = ["GC.FUT"]\n', "'gc'"),
        ('root = "GC"\nparents = ["GC"]\n', "was 'GC'"),
        ('root = "GC"\nparents = ["OG.OPT"]\n', r"GC\.FUT"),
        ('root = "GC"\nparents = ["GC.FUT", "GC.FUT"]\n', "twice"),
        ("root = ", "own.toml"),
        ("\udcff", "own.toml"),
    ],
)
def test_wrong_files_are_refused(tmp_path: Path, text: str, message: str) -> None:
    """Unknown keys, missing ones, wrong types and forms are named with the file."""
    path = tmp_path / "own.toml"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ConfigError, match=message) as caught:
        load_universe(path)
    assert "own.toml" in str(caught.value)


def test_unknown_names_are_refused(tmp_path: Path) -> None:
    """A name that is nearly one is answered with that one; a missing file with its path."""
    with pytest.raises(ConfigError, match=r"was 'nqq'.*nq"):
        load_universe("nqq")
    with pytest.raises(ConfigError, match=r"none\.toml"):
        load_universe(tmp_path / "none.toml")


def test_unknown_kinds_belong_nowhere() -> None:
    """A stock is of no future's universe."""
    assert define(1, "MSFT", "").kind == KIND_UNKNOWN
    assert not load_universe("es").belongs(define(1, "MSFT", ""))
