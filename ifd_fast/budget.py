"""The guard: nothing that Databento bills is asked for unpriced, unseen or past the limit."""

from __future__ import annotations

import math
import os
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ifd_fast.batch_jobs import JOB_FORM, job_id_of
from ifd_fast.errors import BudgetError, CredentialError, RequestError, UsageError
from ifd_fast.logs import get_logger
from ifd_fast.pricing import DataRequest, Price, price, shown_usd
from ifd_fast.spending import Ledger, Reserved, month_of

if TYPE_CHECKING:
    from databento import Historical

    from ifd_fast.historical import HistoricalApi
    from ifd_fast.profiles import Profile

__all__ = ["Budget", "Guard", "budget_of", "check_total", "ledger_of"]


@dataclass(frozen=True, slots=True)
class Budget:
    """What a month may cost, in US dollars at 1e-9."""

    limit_1e9: int
    kept_1e9: int  # part of the limit that is for other needs than ours
    expected_1e9: int
    alert_share: float

    @property
    def ceiling_1e9(self) -> int:
        """What our own requests may cost in a month."""
        return max(0, self.limit_1e9 - self.kept_1e9)

    @property
    def alert_1e9(self) -> int:
        """From which spending on there is a warning."""
        return math.ceil(self.ceiling_1e9 * self.alert_share)


def budget_of(profile: Profile) -> Budget:
    """Return the budget that the settings state."""
    return Budget(
        round(profile.budget_limit_usd * 1e9),
        round(profile.budget_kept_usd * 1e9),
        round(profile.budget_expected_usd * 1e9),
        profile.budget_alert_share,
    )


def ledger_of(profile: Profile) -> Ledger:
    """Return the ledger that the settings name."""
    return Ledger(Path(profile.budget_ledger))


def check_total(
    what: str, total_1e9: int, profile: Profile, now_ns: int, most_usd: float | None
) -> None:
    """Hold what several requests cost together, US dollars at 1e-9, to every limit.

    Raises
    ------
    BudgetError
        It is more than `most_usd`, or than the month's budget has left; begins with `what`.
    """
    if most_usd is not None and total_1e9 > round(most_usd * 1e9):
        raise BudgetError(
            f"{what} costs {shown_usd(total_1e9)}, more than --max-usd {most_usd:g}: nothing was "
            "sent. Raise it, or do without."
        )
    month = month_of(now_ns)
    left = budget_of(profile).ceiling_1e9 - ledger_of(profile).total_1e9(month)
    if total_1e9 and total_1e9 > left:
        raise BudgetError(
            f"{what} costs {shown_usd(total_1e9)}, of {month}'s budget {shown_usd(max(left, 0))} "
            "is left: nothing was sent. Wait for next month, or raise budget.limit_usd or lower "
            "budget.kept_usd."
        )


@dataclass(frozen=True, slots=True)
class Guard:
    """The only door to what costs money.

    Parameters
    ----------
    api, ledger, budget
        Where to ask, where to write it down, what it may cost.
    show
        Is told each request and its price before it is sent, the month's total with it.
    clock
        ns UTC.
    """

    api: HistoricalApi
    ledger: Ledger
    budget: Budget
    show: Callable[[DataRequest, Price, int], None]
    clock: Callable[[], int] = time.time_ns

    @contextmanager
    def spending(self, request: DataRequest, *, by_symbol: bool = False) -> Iterator[Price]:
        """Price, reserve and show a request; the block sends it; then it is settled.

        A block that raises leaves the reservation open, counted as spent, unless Databento said
        that it refused the request: nobody knows how much had been sent by then.

        Raises
        ------
        BudgetError
            If the month's limit would be passed; the block does not run.
        CredentialError, RequestError
            If the price is refused, doesn't come or can't be read; the block does not run.
        """
        found = price(self.api, request, by_symbol=by_symbol)
        held = self.ledger.reserve(request, found, self.budget.ceiling_1e9, self.clock())
        try:
            self._tell(request, found, held)
        except BaseException:
            self.ledger.release(held.id, self.clock())  # nothing was sent
            raise
        try:
            yield found
        except (CredentialError, RequestError) as error:
            if error.was_refused:
                self.ledger.release(held.id, self.clock())
            raise
        self.ledger.settle(held.id, self.clock())

    def fetch(self, request: DataRequest, path: Path, *, by_symbol: bool = False) -> Price:
        """Buy the records of `request` into the new file `path` (.dbn.zst); return the price.

        Raises
        ------
        UsageError
            If `path` is there, its folder isn't, or the request is of a live session's replay.
        CredentialError, RequestError
            See `spending`; what came of an answer that broke off is dropped.
        """
        if request.kind != "historical":
            raise UsageError(f"`kind` must be historical to be fetched, was {request.kind}.")
        if path.exists() or not path.parent.is_dir():
            raise UsageError(f"{path} must be a new file in a folder that exists.")

        part = path.with_name(f"{path.name}.{os.getpid()}.part")

        def get_range(client: Historical) -> None:
            client.timeseries.get_range(**request.fields, path=part)

        try:
            with self.spending(request, by_symbol=by_symbol) as found:
                with warnings.catch_warnings():
                    # the client leaves its file to the garbage collector
                    warnings.simplefilter("ignore", ResourceWarning)
                    self.api.send(f"{request}", get_range)
                with part.open("rb") as file:
                    os.fsync(file.fileno())  # on the disk before the ledger says that it came
                part.rename(path)
        finally:
            part.unlink(missing_ok=True)
        return found

    def submit(self, request: DataRequest, note: Callable[[str, Price], object]) -> None:
        """Buy the records of `request` as a batch job, a file a day.

        `note` is told the job's id and price before anything else happens, and is to have them on
        the disk when it returns: whoever has the id can fetch what was paid for.

        Raises
        ------
        BudgetError, CredentialError, RequestError
            See `spending`.
        """

        def submit(client: Historical) -> str:
            return job_id_of(client.batch.submit_job(**request.fields, **JOB_FORM))

        with self.spending(request) as found:
            note(self.api.send(f"batch job of {request}", submit), found)

    def _tell(self, request: DataRequest, found: Price, held: Reserved) -> None:
        self.show(request, found, held.after_1e9)
        alert = self.budget.alert_1e9
        if held.after_1e9 >= alert > held.before_1e9:
            get_logger("budget").warning(
                "the month's spending passes its alert",
                spent=shown_usd(held.after_1e9),
                alert=shown_usd(alert),
                ceiling=shown_usd(self.budget.ceiling_1e9),
            )
