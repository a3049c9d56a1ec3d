"""The order of files, and which can't be one stream."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import pytest

from ifd_fast.errors import SchemaError, UsageError
from ifd_fast.streams import open_stream
from tests.test_replaying import DAY, START, write


def opened(*paths: Path, definitions: tuple[Path, ...] = ()) -> list[str]:
    """Return the names of files in the order in which they act."""
    sources = open_stream(paths, definitions)
    for source in sources:
        source.close()
    return [Path(source.name).name for source in sources]


def test_files_act_in_the_order_of_time(tmp_path: Path) -> None:
    """Definitions of a day come before its market data, whatever the order of naming them."""
    files = [
        write(tmp_path / "c.dbn", [], start=START, end=START + DAY),
        write(tmp_path / "b.dbn.zst", [], start=START + DAY, end=START + 2 * DAY),
        write(tmp_path / "d.dbn", [], schema="definition", start=START + DAY + 5),
        write(tmp_path / "e.dbn", [], schema="definition", start=START),
    ]
    for order in permutations(files):
        assert opened(*order) == ["e.dbn", "c.dbn", "d.dbn", "b.dbn.zst"]


def test_files_that_cover_the_same_time_are_refused(tmp_path: Path) -> None:
    """One after the other, the second one's trades would all be late: both are named."""
    one = write(tmp_path / "one.dbn", [], start=START, end=START + DAY)
    two = write(tmp_path / "two.dbn", [], start=START + DAY - 1, end=START + 2 * DAY)
    with pytest.raises(UsageError, match=r"one\.dbn and .*two\.dbn: cover the same time"):
        opened(two, one)


def test_no_market_data_is_wrong_usage(tmp_path: Path) -> None:
    """Nothing, or definitions alone, is nothing to replay."""
    with pytest.raises(UsageError, match="none was given"):
        opened()
    with pytest.raises(UsageError, match="must hold market data"):
        opened(write(tmp_path / "a.dbn", [], schema="definition"))


def test_market_data_is_no_definition(tmp_path: Path) -> None:
    """A file of the wrong kind is refused by what it holds."""
    path = write(tmp_path / "a.dbn", [])
    with pytest.raises(SchemaError, match="holds schema 'mbo'"):
        opened(path, definitions=(path,))
