"""Databento's batch jobs: what they ask for, found again, waited for, their files listed.

A job is the one request that outlives the process that sent it. So whether an interrupted
submission came to anything is asked of the server, which knows all jobs of the account.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ifd_fast.batch_folders import ListedFile, parse_listing
from ifd_fast.errors import DataError, RequestError
from ifd_fast.pricing import DataRequest, shown_usd

if TYPE_CHECKING:
    from collections.abc import Callable

    from databento import Historical

    from ifd_fast.historical import HistoricalApi

__all__ = [
    "JOB_FORM",
    "Job",
    "differs",
    "find_job",
    "job_id_of",
    "list_job_files",
    "look_at_job",
    "wait_for_job",
]

UNDER_WAY: Final = frozenset({"received", "queued", "processing"})
_FIRST_WAIT_S: Final = 2.0
_LONGEST_WAIT_S: Final = 60.0
_WAIT_GROWS: Final = 1.5
_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
# How a job is asked for, and so known again: a file a day, as this project reads them.
JOB_FORM: Final[dict[str, Any]] = {
    "encoding": "dbn", "compression": "zstd", "split_duration": "day", "delivery": "download",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Job:
    """What the API says of a job: `progress` in percent, `usd_1e9` once it is billed."""

    id: str
    state: str
    progress: int
    usd_1e9: int | None


def look_at_job(api: HistoricalApi, job_id: str) -> Job:
    """Return how a job stands.

    Raises
    ------
    CredentialError, RequestError
        See `HistoricalApi.ask`.
    """
    return api.ask(f"job {job_id}", lambda client: _job_of(client.batch.get_job_details(job_id)))


def find_job(api: HistoricalApi, request: DataRequest, since_ns: int) -> str | None:
    """Return the id of a job that asks for what `request` does, the latest since then, or None.

    Raises
    ------
    CredentialError, RequestError
        See `HistoricalApi.ask`.
    """

    def list_ids(client: Historical) -> list[str]:
        return [job_id_of(one) for one in client.batch.list_jobs(since=since_ns)]

    def is_same(client: Historical, job_id: str) -> bool:
        return _asks_for(client.batch.get_job_details(job_id), request)

    for job_id in reversed(api.ask("list of jobs", list_ids)):  # sorted by when they came
        if api.ask(f"job {job_id}", partial(is_same, job_id=job_id)):
            return job_id
    return None


def wait_for_job(api: HistoricalApi, job_id: str, show: Callable[[str], object]) -> Job:
    """Return a job once it is done, asked for ever less often.

    Raises
    ------
    CredentialError, RequestError
        See `HistoricalApi.ask`; also if the job is expired, or ended in another way.
    """
    wait_s = _FIRST_WAIT_S
    while (job := look_at_job(api, job_id)).state in UNDER_WAY:
        show(f"job {job_id}: {job.state}, {job.progress} %")
        api.sleep(wait_s)
        wait_s = min(wait_s * _WAIT_GROWS, _LONGEST_WAIT_S)
    if job.state == "expired":
        raise RequestError(
            f"Job {job_id} is expired: its files were kept for 30 days and are gone. What is here "
            "of it stays. Fetch the rest into another folder: it is paid again."
        )
    if job.state != "done":
        raise RequestError(
            f"Job {job_id} must be done in the end, was {job.state!r}. See it in the download "
            "center of the Databento portal, or ask their support; --resume looks at it again."
        )
    return job


def list_job_files(api: HistoricalApi, job_id: str) -> list[ListedFile]:
    """Return the files of a job that is done.

    Raises
    ------
    CredentialError, RequestError
        See `HistoricalApi.ask`; also if the list names a file outside its folder, lacks sizes or
        checksums, or is empty.
    """

    def list_files(client: Historical) -> list[ListedFile]:
        try:
            return parse_listing(client.batch.list_files(job_id))
        except DataError as error:
            raise ValueError(str(error)) from None

    files = api.ask(f"files of job {job_id}", list_files)
    if not files:
        raise RequestError(f"Job {job_id} is done, but has no files. --resume looks again.")
    return files


def differs(job: Job, usd_1e9: int) -> str | None:
    """Return what to say if a job was billed at another price than `usd_1e9`, else None."""
    if job.usd_1e9 is None or abs(job.usd_1e9 - usd_1e9) < 5_000_000:
        return None
    return (
        f"job {job.id} was billed {shown_usd(job.usd_1e9)}, priced {shown_usd(usd_1e9)}: the "
        "ledger has the price. See the invoice."
    )


def job_id_of(tree: Any) -> str:
    """Return a job's id, which names a folder; the answer may hold anything."""
    found = tree.get("id") if isinstance(tree, dict) else None
    if not isinstance(found, str) or _ID.fullmatch(found) is None:
        raise TypeError(f"a job's id must be letters, digits and dashes, was {found!r}")
    return found


def _job_of(tree: Any) -> Job:
    state, progress, cost = (tree.get(name) for name in ("state", "progress", "cost_usd"))
    if not isinstance(state, str):
        raise TypeError(f"a job's state must be a word, was {state!r}")
    is_cost = isinstance(cost, int | float) and not isinstance(cost, bool) and 0 <= cost < 1e6
    return Job(
        job_id_of(tree),
        state,
        progress if isinstance(progress, int) else 0,
        round(Decimal(repr(cost)) * 1_000_000_000) if is_cost else None,
    )


def _asks_for(tree: Any, request: DataRequest) -> bool:
    """Return whether a job's details are those of `request` in our form."""
    symbols = tree.get("symbols")
    names = symbols.split(",") if isinstance(symbols, str) else symbols
    same = {"dataset": request.dataset, "schema": request.schema, "stype_in": request.stype_in}
    return (
        all(tree.get(name) == value for name, value in (same | JOB_FORM).items())
        and isinstance(names, list)
        and set(names) == set(request.symbols)
        and _ns_of(tree.get("start")) == request.start_ns
        and _ns_of(tree.get("end")) == request.end_ns
        and tree.get("limit") is None
    )


def _ns_of(text: object) -> int | None:
    """Return ns UTC of a time as the API writes it: ISO with Z or an offset of 0, or a number."""
    if isinstance(text, int) or (isinstance(text, str) and text.isdecimal()):
        return int(text)
    if not isinstance(text, str):
        return None
    plain = text.removesuffix("Z").removesuffix("+00:00").replace(" ", "T")
    try:
        return int(np.datetime64(plain, "ns").astype(np.int64))
    except ValueError:
        return None
