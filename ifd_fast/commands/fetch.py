"""`ifd fetch`: days of history from Databento as batch jobs, priced first, checked, resumable."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from ifd_fast.commands.startup import start
from ifd_fast.errors import CredentialError, UsageError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.status import Status

    from ifd_fast.fetch_files import FetchFolder, FetchPlan
    from ifd_fast.fetching import Teller
    from ifd_fast.historical import HistoricalApi
    from ifd_fast.profiles import Profile

__all__ = ["fetch"]

SCHEMAS: Final = "definition,mbo,statistics,status"


@click.command()
@click.option("--from", "first", metavar="DATE", help="First UTC day. Default: that of --to.")
@click.option("--to", "last", metavar="DATE", help="Last UTC day. Default: yesterday.")
@click.option("--parents", help="As in NQ.FUT,NQ.OPT. Default: all of the profile's universe.")
@click.option("--schemas", help=f"Default: {SCHEMAS}.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder for it.")
@click.option("--max-usd", type=click.FloatRange(min=0), help="Buy nothing if it costs more.")
@click.option("--partial", is_flag=True, help="Take days that are degraded or missing, too.")
@click.option("--dry-run", is_flag=True, help="Price it, buy nothing.")
@click.option("--yes", is_flag=True, help="Buy without asking.")
@click.option("--resume", is_flag=True, help="Go on with the fetch in --out.")
@click.option("--profile", metavar="NAME|PATH", help="Packaged profile or file.")
def fetch(
    *,
    first: str | None,
    last: str | None,
    parents: str | None,
    schemas: str | None,
    out: Path,
    max_usd: float | None,
    partial: bool,
    dry_run: bool,
    yes: bool,
    resume: bool,
    profile: str | None,
) -> None:
    """Fetch whole UTC days of history into --out: priced, shown, then bought as batch jobs.

    A job for each schema, a file for each day, held to size and SHA-256. Whatever ends a fetch,
    --resume goes on with it: what is here stays, nothing is paid twice. Exit codes: 1 Databento
    refused or didn't answer, or the disk is full; 3 what came is not what the job lists; 4
    another fetch holds the folder; 5 no key, no licence, or past the budget.
    """
    settings = start(profile)
    plan = None
    if not resume or any(one is not None for one in (first, last, parents, schemas)):
        plan = _plan(settings.profile, first, last, parents, schemas)
    with _opened(out, plan, resume=resume, dry_run=dry_run) as folder:
        api = _open_api(settings.profile)
        is_to_pay = _show_prices(api, folder, settings.profile, max_usd, partial=partial)
        if dry_run:
            return
        if is_to_pay and not yes:
            click.confirm("Buy it?", abort=True)
        folder.write()
        with _told() as teller:
            _run(api, folder, settings.profile, teller)


def _plan(
    profile: Profile, first: str | None, last: str | None, parents: str | None, schemas: str | None
) -> FetchPlan:
    """Return what the options ask for; refused here if it couldn't be asked for."""
    from ifd_fast.fetch_files import FetchPlan
    from ifd_fast.universe import load_universe

    universe = load_universe(profile.universe)
    today = dt.datetime.now(dt.UTC).date()
    end = _day("--to", last) if last else today - dt.timedelta(days=1)
    begin = _day("--from", first) if first else end
    if not begin <= end < today:
        raise UsageError(
            f"`--from` must not come after `--to`, nor that after yesterday, were {begin} and "
            f"{end}: whole UTC days are fetched."
        )
    names = _words("--parents", parents) if parents is not None else universe.parents
    plan = FetchPlan(universe.dataset, names, _words("--schemas", schemas or SCHEMAS), begin, end)
    for schema in plan.schemas:
        plan.request(schema)
    return plan


def _opened(
    out: Path, plan: FetchPlan | None, *, resume: bool, dry_run: bool
) -> AbstractContextManager[FetchFolder]:
    """Return the fetch's folder, held; a new one that is only priced isn't made."""
    from ifd_fast.fetch_files import FetchFolder, open_fetch

    if dry_run and not resume and plan is not None:
        return nullcontext(FetchFolder(out, plan, {}))
    return open_fetch(out, plan, resume=resume)


def _open_api(profile: Profile) -> HistoricalApi:
    from ifd_fast.config import find_api_key
    from ifd_fast.historical import open_api

    key = find_api_key()
    if key is None:
        raise CredentialError(
            "Fetching needs an API key. Set DATABENTO_API_KEY, or write it to "
            "~/.config/ifd/api_key with mode 0600."
        )
    return open_api(key, profile)


def _show_prices(
    api: HistoricalApi,
    folder: FetchFolder,
    profile: Profile,
    max_usd: float | None,
    *,
    partial: bool,
) -> bool:
    """Show what is left to be paid, which is within every limit; return whether there is any."""
    from ifd_fast.budget import check_total, ledger_of
    from ifd_fast.fetching import check_days, price_plan
    from ifd_fast.pricing import shown_usd

    prices = price_plan(api, folder, ledger_of(profile))
    if not prices:
        click.echo("nothing is left to be paid")
        return False
    plan = folder.plan
    click.echo(f"{plan.dataset}, {len(plan.parents)} parents, {plan.first} to {plan.last}")
    for day, condition in check_days(api, plan, partial=partial).items():
        click.echo(f"{day} is {condition}")
    for schema, found in prices.items():
        click.echo(f"{schema}: {found}")
    total = sum(one.usd_1e9 for one in prices.values())
    click.echo(f"together {shown_usd(total)}")
    check_total("The fetch", total, profile, time.time_ns(), max_usd)
    return True


def _run(api: HistoricalApi, folder: FetchFolder, profile: Profile, teller: Teller) -> None:
    from ifd_fast.budget import Guard, budget_of, ledger_of
    from ifd_fast.fetching import Fetch
    from ifd_fast.pricing import shown_usd

    guard = Guard(
        api,
        ledger_of(profile),
        budget_of(profile),
        lambda request, found, month: teller.tell(
            f"{request}: {found}, the month {shown_usd(month)}"
        ),
    )
    Fetch(api, guard, folder, teller).run()


class _Lines:
    """Tells lines beside the results; what is replaced is shown on a terminal alone."""

    def __init__(self, console: Console, status: Status | None) -> None:
        self._console = console
        self._status = status

    def tell(self, text: str) -> None:
        """Print a line."""
        if self._status is None:
            click.echo(text, err=True)
        else:
            self._console.print(text, markup=False)

    def show(self, text: str) -> None:
        """Replace what stands on the last line."""
        if self._status is not None:
            self._status.update(text)


@contextmanager
def _told() -> Iterator[_Lines]:
    from rich.console import Console

    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        yield _Lines(console, None)
        return
    with console.status("asking") as status:
        yield _Lines(console, status)


def _day(option: str, text: str) -> dt.date:
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        raise UsageError(f"`{option}` must be a date as in 2026-11-23, was {text!r}.") from None


def _words(option: str, text: str) -> tuple[str, ...]:
    words = tuple(one.strip() for one in text.split(","))
    if len(set(words)) != len(words) or not all(words):
        raise UsageError(f"`{option}` must be different names with commas between, was {text!r}.")
    return words
