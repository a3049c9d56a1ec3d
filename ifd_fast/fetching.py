"""Fetching days of history as batch jobs: priced together, submitted once each, brought whole.

Whatever is killed when, nothing is paid twice: what was reserved and never noted is looked for
among the account's jobs before anything is submitted again.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from ifd_fast.batch_folders import SUPPORT, parse_conditions
from ifd_fast.batch_jobs import differs, find_job, list_job_files, wait_for_job
from ifd_fast.downloading import check_room, download, is_there
from ifd_fast.errors import BudgetError, DataError, RequestError
from ifd_fast.fetch_files import JobNote
from ifd_fast.pricing import DataRequest, Price, price

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from databento import Historical

    from ifd_fast.batch_folders import ListedFile
    from ifd_fast.budget import Guard
    from ifd_fast.fetch_files import FetchFolder, FetchPlan
    from ifd_fast.historical import HistoricalApi
    from ifd_fast.spending import Ledger, Spent

__all__ = ["Fetch", "Teller", "check_days", "price_plan"]

# A request that a killed process had sent may take that long to be seen among the jobs.
GRACE_NS: Final = 120_000_000_000
# Jobs this much older than a reservation are looked at too: clocks differ.
_SLACK_NS: Final = 86_400_000_000_000
_DAY_OF: Final = re.compile(r"-(\d{4})(\d\d)(\d\d)\.")


class Teller(Protocol):
    """Who is told what happens: `tell` a line, `show` how far the matter at hand is."""

    def tell(self, text: str) -> None:
        """Say something that stays."""

    def show(self, text: str) -> None:
        """Say something that the next call replaces."""


def check_days(api: HistoricalApi, plan: FetchPlan, *, partial: bool) -> dict[str, str]:
    """Return the days whose history isn't `available`, by ISO date, with what it is instead.

    Days of which history says nothing, as holidays, are not among them.

    Raises
    ------
    RequestError
        A day isn't over or still comes; or is degraded or missing, unless `partial` allows that.
    """

    def ask(client: Historical) -> Any:
        said = client.metadata.get_dataset_condition(plan.dataset, plan.first, plan.last)
        try:
            return parse_conditions(said)
        except DataError as error:
            raise ValueError(str(error)) from None

    said = api.ask("condition of the days", ask)
    open_days = {str(day) for day in plan.days}
    bad = {day: one for day, one in said.items() if day in open_days and one != "available"}
    coming = [day for day, one in bad.items() if one in {"pending", "intraday"}]
    if coming:
        raise RequestError(
            f"{plan.dataset} of {', '.join(coming)} is {bad[coming[0]]}: a part of the day would "
            "look like all of it. Nothing was bought. End before it, or try again tomorrow."
        )
    if bad and not partial:
        days = ", ".join(f"{day} is {one}" for day, one in bad.items())
        raise RequestError(
            f"{plan.dataset} of {days}: nothing was bought. Leave such days out, or take what "
            "there is of them with --partial."
        )
    return bad


def price_plan(api: HistoricalApi, folder: FetchFolder, ledger: Ledger) -> dict[str, Price]:
    """Return what each schema costs that no job delivers and nothing is reserved for yet.

    Raises
    ------
    CredentialError, RequestError
        See `pricing.price`.
    """
    requests = {one: folder.plan.request(one) for one in folder.plan.schemas}
    reserved = {schema for schema, one in requests.items() if _open_of(ledger, one)}
    return {
        schema: price(api, one)
        for schema, one in requests.items()
        if schema not in folder.jobs and schema not in reserved
    }


@dataclass(frozen=True)
class Fetch:
    """A fetch in its folder: `guard` is what it pays through."""

    api: HistoricalApi
    guard: Guard
    folder: FetchFolder
    teller: Teller
    clock: Callable[[], int] = time.time_ns

    def run(self) -> None:
        """Submit what isn't, wait, and bring all files; what is here already stays.

        Raises
        ------
        BudgetError
            Past the month's limit, or an earlier try may have been billed and isn't known yet.
        CredentialError, RequestError, DataError, IfdError
            See `HistoricalApi.send`, `wait_for_job`, `download`. All of it can be gone on with.
        """
        for schema in self.folder.plan.schemas:
            self._submit(schema)
        for schema in self.folder.plan.schemas:
            if not self.folder.jobs[schema].done:
                self._bring(schema)

    def _submit(self, schema: str) -> None:
        """Have a job for a schema, submitted now or before, and the ledger agree with it."""
        request = self.folder.plan.request(schema)
        for held in _open_of(self.guard.ledger, request):
            self._clear_up(schema, request, held)
        if schema in self.folder.jobs:
            return

        def note(job_id: str, found: Price) -> None:
            self.folder.note(schema, JobNote(job_id, found.usd_1e9))
            self.teller.tell(f"{schema}: submitted as job {job_id}")

        self.guard.submit(request, note)

    def _clear_up(self, schema: str, request: DataRequest, held: Spent) -> None:
        """Close a reservation that a dead process has left: with its job, or with nothing."""
        ledger = self.guard.ledger
        if schema not in self.folder.jobs:
            job_id = find_job(self.api, request, held.reserved_ns - _SLACK_NS)
            if job_id is None:
                self._check_age(request, held)
                ledger.release(held.id, self.clock())
                self.teller.tell(f"{schema}: an earlier try came to nothing")
                return
            self.folder.note(schema, JobNote(job_id, held.price.usd_1e9))
            self.teller.tell(f"{schema}: an earlier try was submitted as job {job_id}")
        ledger.settle(held.id, self.clock())

    def _check_age(self, request: DataRequest, held: Spent) -> None:
        age_ns = self.clock() - held.reserved_ns
        if age_ns < GRACE_NS:
            raise BudgetError(
                f"{request} was begun {max(age_ns, 0) / 1e9:.0f} s ago and is not among the jobs "
                f"yet: it may still come. Try again with --resume in {GRACE_NS // 10**9} s."
            )

    def _bring(self, schema: str) -> None:
        note = self.folder.jobs[schema]
        job = wait_for_job(self.api, note.job_id, self.teller.show)
        if (warning := differs(job, note.usd_1e9)) is not None:
            self.teller.tell(warning)
        files = list_job_files(self.api, note.job_id)
        files.sort(key=lambda one: (one.name not in SUPPORT, one.name))
        folder = self.folder.begin_job(note.job_id, files)
        missing = [one for one in files if not is_there(folder, one)]
        check_room(folder, missing)
        for number, one in enumerate(missing, len(files) - len(missing) + 1):
            download(self.api, one, folder, _shower(self.teller, schema, number, len(files), one))
        self.folder.note(schema, JobNote(note.job_id, note.usd_1e9, done=True))
        self.teller.tell(f"{schema}: {_summary(self.folder.plan, files)} in {folder}")


def _shower(
    teller: Teller, schema: str, number: int, count: int, listed: ListedFile
) -> Callable[[int], None]:
    def show(size: int) -> None:
        share = f"{size / 1e6:,.1f} of {listed.size_bytes / 1e6:,.1f} MB"
        teller.show(f"{schema}: file {number} of {count}, {share}")

    return show


def _summary(plan: FetchPlan, files: list[ListedFile]) -> str:
    """Return what came, and the days that nothing came of."""
    data = [one for one in files if one.name not in SUPPORT]
    size = sum(one.size_bytes for one in data)
    came = {"-".join(found.groups()) for one in data if (found := _DAY_OF.search(one.name))}
    missing = [str(day) for day in plan.days if str(day) not in came]
    text = f"{len(data)} files, {size / 1e9:,.3f} GB"
    return f"{text}, none of {', '.join(missing)}" if missing else text


def _open_of(ledger: Ledger, request: DataRequest) -> list[Spent]:
    """Return reservations of a request that nobody has closed."""
    return [one for one in ledger.spent() if one.is_open and one.request == request]
