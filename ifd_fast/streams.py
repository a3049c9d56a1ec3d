"""The order of files: which are market data, which say who is who, and what comes first.

Files given together are one stream. Definitions act before the market data of their own days,
because an `instrument_id` is unique only within a day.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final

from ifd_fast.errors import SchemaError, UsageError
from ifd_fast.sources import open_source

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ifd_fast.sources import Source

__all__ = ["MARKET_SCHEMAS", "open_stream"]

MARKET_SCHEMAS: Final = (None, "mbo")
_DEFINITION_SCHEMAS: Final = (None, "definition")
_BESIDE_SCHEMAS: Final = ("definition", "status")  # taken whole, before the data of their day


def open_stream(files: Sequence[object], definitions: Sequence[object] = ()) -> list[Source]:
    """Open all files and return them in the order in which they act.

    `files` hold market data (schema mbo or a live mix; definitions and trading states too);
    `definitions` hold definition records. Raises UsageError without files or with none of
    market data, SchemaError for another schema or for two datasets, and what `open_source`
    raises; whatever was opened is closed again.
    """
    if not files:
        raise UsageError("At least one DBN file is needed, none was given.")
    opened: list[Source] = []
    try:
        opened.extend(_open_all(files, (*MARKET_SCHEMAS, *_BESIDE_SCHEMAS)))
        _check_market(opened)
        opened.extend(_open_all(definitions, _DEFINITION_SCHEMAS))
        _check_dataset(opened)
        _check_overlap(opened)
    except BaseException:
        for source in opened:
            source.close()
        raise
    return sorted(opened, key=_acts_at)


def _check_overlap(sources: Sequence[Source]) -> None:
    """Raise UsageError if two files of market data cover the same time: one would come too late."""
    market = [one for one in sources if one.metadata.schema == "mbo"]
    for one, other in pairwise(sorted(market, key=_acts_at)):
        ends_ns = one.metadata.end_ns
        if ends_ns is not None and other.metadata.start_ns < ends_ns:
            raise UsageError(
                f"{one.name} and {other.name}: cover the same time, but files given together are "
                "one stream, one after the other. Replay them apart, or fetch all symbols in one."
            )


def _open_all(files: Iterable[object], schemas: tuple[str | None, ...]) -> Iterable[Source]:
    for file in files:
        source = open_source(file)
        if source.metadata.schema not in schemas:
            source.close()
            wanted = ", ".join(name for name in schemas if name)
            raise SchemaError(
                f"{source.name}: holds schema {source.metadata.schema!r}, one of {wanted} is "
                f"needed. Download {wanted.split(', ')[0]} of {source.metadata.dataset}."
            )
        yield source


def _check_market(sources: Sequence[Source]) -> None:
    if all(source.metadata.schema not in MARKET_SCHEMAS for source in sources):
        raise UsageError(
            f"{sources[0].name}: holds schema {sources[0].metadata.schema!r}; at least one file "
            "must hold market data (schema mbo)."
        )


def _check_dataset(sources: Sequence[Source]) -> None:
    first = sources[0]
    for source in sources[1:]:
        if source.metadata.dataset != first.metadata.dataset:
            raise SchemaError(
                f"{source.name}: is of dataset {source.metadata.dataset}, {first.name} of "
                f"{first.metadata.dataset}. Replay them apart."
            )


def _acts_at(source: Source) -> tuple[int, int, bytes]:
    """Sort by the day's begin for what stands beside market data, else by the header's start.

    Of equals the header decides, so that the order of naming them never does.
    """
    metadata = source.metadata
    if metadata.schema in _BESIDE_SCHEMAS:
        day_ns = 86_400_000_000_000
        return metadata.start_ns // day_ns * day_ns, 0, source.header.data
    return metadata.start_ns, 1, source.header.data
