"""Repairing a record: what its gaps lack is priced, bought from Databento's history, and checked.

Nothing of a gap counts before all of it is there and was found to fit what the session received.
What was paid for and not looked at yet is kept: a repair that was killed doesn't pay for it again.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ifd_fast.errors import BudgetError, DataError, RequestError
from ifd_fast.pricing import DataRequest, Price, price, shown_ns, shown_usd
from ifd_fast.record_gaps import find_gaps, symbols_of
from ifd_fast.repair_checks import check_history, check_stream, find_undefined
from ifd_fast.repair_files import SCHEMAS, Repair, write_safely
from ifd_fast.sources import open_source
from ifd_fast.universe import load_universe
from ifd_kernels.layout import SECOND_NS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from databento import Historical

    from ifd_fast.budget import Guard
    from ifd_fast.historical import HistoricalApi
    from ifd_fast.profiles import Profile
    from ifd_fast.record_gaps import Gap
    from ifd_fast.record_reader import RecordReader
    from ifd_fast.repair_files import RepairFiles

__all__ = ["Need", "buy", "check_condition", "find_needs", "finish", "price_needs"]

_AHEAD_NS: Final = SECOND_NS  # a record may be captured that much before its ts_event
_BEHIND_NS: Final = 2 * SECOND_NS  # of what the next connection has too: there the two are joined


@dataclass(frozen=True, slots=True)
class Need:
    """What one gap lacks: a request for each schema; history is whole from `from_ns` on."""

    gap: Gap
    from_ns: int
    requests: tuple[tuple[str, DataRequest], ...]


def find_needs(reader: RecordReader, files: RepairFiles, profile: Profile) -> list[Need]:
    """Return what the gaps lack that were not repaired, in their order."""
    gaps = [gap for gap in find_gaps(reader) if gap.number not in files.repairs]
    return [_need_of(reader, gap, profile) for gap in gaps]


def price_needs(
    api: HistoricalApi, needs: Sequence[Need], files: RepairFiles
) -> list[dict[str, Price]]:
    """Return what each need costs, by schema; what was paid for already costs nothing again.

    Raises
    ------
    CredentialError, RequestError
        See `pricing.price`.
    """
    paid = Price(0, 0)
    return [
        {
            schema: paid if files.download(need.gap.number, schema).exists() else price(api, one)
            for schema, one in need.requests
        }
        for need in needs
    ]


def check_condition(api: HistoricalApi, needs: Sequence[Need]) -> None:
    """Raise RequestError unless history of all days is there and without a known fault."""
    for need in needs:
        request = need.requests[0][1]
        for day, condition in _conditions(api, request).items():
            if condition != "available":
                raise RequestError(
                    f"{request.dataset} of {day} is {condition}, must be available to fill "
                    f"{shown_ns(need.gap.start_ns)} to {shown_ns(need.gap.end_ns)}. Nothing was "
                    "bought. History comes after the session: try again tomorrow; what stays "
                    "degraded or missing can't be repaired."
                )


def buy(guard: Guard, need: Need, files: RepairFiles, tell: Callable[[str], object]) -> int:
    """Buy what isn't here of a gap; return what it cost, US dollars at 1e-9.

    Raises
    ------
    BudgetError
        It is past the limit, or an earlier try may have been billed.
    CredentialError, RequestError
        See `Guard.fetch`; what came before is kept.
    """
    usd_1e9 = 0
    for schema, request in need.requests:
        path = files.download(need.gap.number, schema)
        if path.exists():
            tell(f"{request}: was paid for before")
            continue
        _check_open(guard, request)
        tell(f"fetching {request}")
        usd_1e9 += guard.fetch(request, path).usd_1e9
    return usd_1e9


def finish(reader: RecordReader, need: Need, files: RepairFiles, usd_1e9: int) -> dict[str, int]:
    """Check what was bought for a gap and make it part of the record; return how it fits.

    That is `Bridge.counts`, and `undefined`: instruments whose definition nobody has.

    Raises
    ------
    DataError
        A file is cut, damaged, or not what was asked for, or doesn't fit what was received. It is
        set aside as `.refused`, and nothing of the gap counts.
    """
    number = need.gap.number
    parts, counts = [], {}
    for schema, request in need.requests:
        download, path = files.download(number, schema), files.path(number, schema)
        try:
            size, crc = write_safely(path, _unpack(download))
            check_stream(path, schema, request)
            if schema == "mbo":
                counts = check_history(reader, need.gap, path, need.from_ns)
        except DataError as error:
            path.unlink(missing_ok=True)
            refused = download.with_name(f"{download.name}.refused")
            download.replace(refused)
            raise DataError(
                f"{error} Nothing of the gap counts. It was paid for: it lies in {refused}, to "
                "show to Databento; another `ifd repair` buys it again."
            ) from None
        parts.append((schema, size, crc))
    gap, (mbo, definitions, _) = need.gap, (files.path(number, one) for one in SCHEMAS)
    counts["undefined"] = len(find_undefined(reader, gap, mbo, definitions))
    files.add(Repair(number, gap.start_ns, gap.end_ns, need.from_ns, usd_1e9, tuple(parts)))
    for schema in SCHEMAS:
        files.download(number, schema).unlink(missing_ok=True)
    return counts


def _need_of(reader: RecordReader, gap: Gap, profile: Profile) -> Need:
    universe = load_universe(profile.universe)
    said = symbols_of(reader, gap.number)
    dataset, symbols = (universe.dataset, universe.parents) if said is None else said
    from_ns = (gap.start_ns - profile.lateness_ns - SECOND_NS) // SECOND_NS * SECOND_NS
    start_ns = from_ns - _AHEAD_NS
    end_ns = max(gap.end_ns, gap.joined_ns) + _BEHIND_NS
    requests = tuple(
        (schema, DataRequest(dataset, schema, symbols, start_ns, end_ns)) for schema in SCHEMAS
    )
    return Need(gap, from_ns, requests)


def _conditions(api: HistoricalApi, request: DataRequest) -> dict[str, str]:
    """Return what history says of each day of a request."""
    first, last = (
        dt.datetime.fromtimestamp(ts_ns // SECOND_NS, tz=dt.UTC).date()
        for ts_ns in (request.start_ns, request.end_ns - 1)
    )

    def ask(client: Historical) -> Any:
        return client.metadata.get_dataset_condition(request.dataset, first, last)

    said = {str(day["date"]): str(day["condition"]) for day in api.ask("condition", ask)}
    days = [first + dt.timedelta(days=n) for n in range((last - first).days + 1)]
    return {day.isoformat(): said.get(day.isoformat(), "missing") for day in days}


def _check_open(guard: Guard, request: DataRequest) -> None:
    """Raise BudgetError if the ledger has a reservation for this that nobody closed."""
    for one in guard.ledger.spent():
        if one.is_open and one.request == request:
            raise BudgetError(
                f"{request} was begun before and not finished: Databento may have billed "
                f"{shown_usd(one.price.usd_1e9)}. See the invoice, close it with "
                f"`ifd cost --settle {one.id}=USD` (0: nothing was sent), then repair again."
            )


def _unpack(path: Path) -> Iterator[Any]:
    """Yield a download decompressed, its header first."""
    with open_source(path) as source:
        yield source.header.data
        yield from source.chunks()
