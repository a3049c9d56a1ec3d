"""`ifd repair`: fill the gaps of a live session's record from Databento's history."""

from __future__ import annotations

import json
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from ifd_fast.commands.startup import start
from ifd_fast.errors import CredentialError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ifd_fast.historical import HistoricalApi
    from ifd_fast.pricing import Price
    from ifd_fast.profiles import Profile
    from ifd_fast.record_reader import RecordReader
    from ifd_fast.repair_files import RepairFiles
    from ifd_fast.repairing import Need

__all__ = ["repair"]

LOOK_S: Final = 0.2  # between looks at how much has come


@click.command()
@click.argument("record", type=click.Path(path_type=Path))
@click.option("--dry-run", is_flag=True, help="Find and price the gaps, buy nothing.")
@click.option("--yes", is_flag=True, help="Buy without asking.")
@click.option("--max-usd", type=click.FloatRange(min=0), help="Buy nothing if it costs more.")
@click.option("--profile", metavar="NAME|PATH", help="Packaged profile or file.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON; needs --yes or --dry-run.")
def repair(
    *,
    record: Path,
    dry_run: bool,
    yes: bool,
    max_usd: float | None,
    profile: str | None,
    as_json: bool,
) -> None:
    """Fill the gaps of RECORD, a folder of `ifd live`, from history: priced first, then bought.

    `ifd replay RECORD` then gives the windows of the gaps, grade B at best, in place of those of
    grade F; `ifd baseline build` with that run replaces the session in the store. Exit codes: 5
    no key, or past the budget; 3 the record or what was bought can't be used.
    """
    from ifd_fast.record_reader import RecordReader
    from ifd_fast.repair_files import RepairFiles
    from ifd_fast.repairing import find_needs

    settings = start(profile)
    if as_json and not (yes or dry_run):
        raise UsageError("--json prints nothing but JSON: add --yes or --dry-run.")
    reader, files = RecordReader(record), RepairFiles(record)
    reader.verify()
    files.verify()
    needs = find_needs(reader, files, settings.profile)
    rows = [_repaired(one) for _, one in sorted(files.repairs.items())]
    if not needs:
        _report(rows, as_json=as_json)
        return
    api, prices = _price(needs, files, settings.profile)
    open_rows = [_needed(need, found) for need, found in zip(needs, prices, strict=True)]
    total_usd = _show(open_rows, prices, settings.profile, max_usd, as_json=as_json)
    if dry_run:
        _report([*rows, *open_rows], as_json=as_json)
        return
    if not yes:
        click.confirm(f"Buy it for {total_usd}?", abort=True)
    with files.held():
        for number, need in enumerate(needs):
            open_rows[number] |= _fill(api, reader, need, files, settings.profile)
    _report([*rows, *open_rows], as_json=as_json)


def _price(
    needs: Sequence[Need], files: RepairFiles, profile: Profile
) -> tuple[HistoricalApi, list[dict[str, Price]]]:
    from ifd_fast.config import find_api_key
    from ifd_fast.historical import open_api
    from ifd_fast.repairing import check_condition, price_needs

    key = find_api_key()
    if key is None:
        raise CredentialError(
            f"{len(needs)} gaps could be repaired, but there is no API key. Set DATABENTO_API_KEY, "
            "or write it to ~/.config/ifd/api_key with mode 0600."
        )
    api = open_api(key, profile)
    check_condition(api, needs)
    return api, price_needs(api, needs, files)


def _show(
    rows: Sequence[dict[str, Any]],
    prices: list[dict[str, Price]],
    profile: Profile,
    max_usd: float | None,
    *,
    as_json: bool,
) -> str:
    """Show each gap's price; return that of all, which is within every limit."""
    from ifd_fast.budget import check_total
    from ifd_fast.pricing import shown_usd

    if not as_json:
        for row, found in zip(rows, prices, strict=True):
            shares = ", ".join(f"{name} {one}" for name, one in found.items())
            click.echo(f"gap {row['connection']}: {row['start']} to {row['end']}: {shares}")
    total = sum(one.usd_1e9 for found in prices for one in found.values())
    check_total("The repair", total, profile, time.time_ns(), max_usd)
    if not as_json:
        click.echo(f"together {shown_usd(total)}")
    return shown_usd(total)


def _fill(
    api: HistoricalApi, reader: RecordReader, need: Need, files: RepairFiles, profile: Profile
) -> dict[str, Any]:
    """Buy, check and keep one gap's history; return what to say of it."""
    from ifd_fast.budget import Guard, budget_of, ledger_of
    from ifd_fast.pricing import shown_usd
    from ifd_fast.repairing import buy, finish

    with _told(files) as tell:
        guard = Guard(
            api,
            ledger_of(profile),
            budget_of(profile),
            lambda request, found, month: tell(f"{request}: {found}, the month {shown_usd(month)}"),
        )
        usd_1e9 = buy(guard, need, files, tell)
    counts = finish(reader, need, files, usd_1e9)
    return {"state": "repaired", "usd": usd_1e9 / 1e9, "records": counts}


@contextmanager
def _told(files: RepairFiles) -> Iterator[Callable[[str], None]]:
    """Give what prints a line beside the results; on a terminal also show how much has come."""
    from rich.console import Console

    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        yield lambda text: click.echo(text, err=True)
        return
    over = threading.Event()

    def watch() -> None:
        while not over.wait(LOOK_S):
            status.update(f"{files.bytes_coming / 1e6:,.1f} MB")

    with console.status("asking") as status:
        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            yield lambda text: console.print(text, markup=False)
        finally:
            over.set()
            watcher.join()


def _needed(need: Need, found: dict[str, Price]) -> dict[str, Any]:
    usd_1e9 = sum(one.usd_1e9 for one in found.values())
    return _row(need.gap.number, need.gap.start_ns, need.gap.end_ns, "open", usd_1e9)


def _repaired(one: Any) -> dict[str, Any]:
    return _row(one.number, one.start_ns, one.end_ns, "repaired", one.usd_1e9)


def _row(number: int, start_ns: int, end_ns: int, state: str, usd_1e9: int) -> dict[str, Any]:
    from ifd_fast.pricing import shown_ns

    return {
        "connection": number, "start_ns": start_ns, "end_ns": end_ns,
        "start": shown_ns(start_ns), "end": shown_ns(end_ns), "state": state, "usd": usd_1e9 / 1e9,
    }  # fmt: skip


def _report(rows: Sequence[dict[str, Any]], *, as_json: bool) -> None:
    """Say what there is of each gap."""
    if as_json:
        click.echo(json.dumps({"gaps": list(rows)}, indent=2))
        return
    if not rows:
        click.echo("the tape has no gap: nothing to repair")
    for row in rows:
        played = row.get("records", {}).get("played")
        more = "" if played is None else f", {played:,} records"
        span = f"{row['start']} to {row['end']}"
        click.echo(f"gap {row['connection']}: {span}: {row['state']}, {row['usd']:.2f} USD{more}")
