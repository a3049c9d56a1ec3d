"""Batch jobs as Databento's API has them: submitted, queued, done, their files to be had in parts.

A desk knows all jobs of the account. What it does at each step can be watched, to kill a client
at the worst moment; files can be cut, changed or sent whole whatever part was asked for.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tests.strategies_batch import DAY_NS, Content, batch_files, entry_of

__all__ = ["BatchDesk", "Piece"]

USER = "46PCMCVF"


class Piece(NamedTuple):
    """An answer with `body`, of which the first `sent` bytes are sent before the line goes dead."""

    status: int
    body: bytes
    headers: dict[str, str]
    sent: int


@dataclass
class BatchDesk:
    """The account's jobs: details by id, and each job's files by name."""

    url: str = ""
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    looks_until_done: int = 1  # at a job's details, before it is done
    last_state: str = "done"
    billed_usd: float | None = None  # what a job that is done says it cost
    content: Content | None = None  # of each day's file; else a header alone
    padding: int = 0  # bytes that each day's file has more
    file_url: str = ""  # where files lie; else here
    cuts: dict[str, int] = field(default_factory=dict)  # by file: answers cut in the middle
    changed: dict[str, int] = field(default_factory=dict)  # by file: answers with a wrong byte
    ignores_ranges: bool = False
    ranges: list[tuple[str, str | None]] = field(default_factory=list)  # as they were asked for
    happens: Callable[[str], object] = lambda _: None
    listing: Callable[[list[dict[str, Any]]], object] = lambda files: files

    def answer(self, method: str, form: dict[str, str]) -> object:
        """Return what a method of the API answers."""
        name = method.partition(".")[2]
        self.happens(f"asked {name}")
        answer = getattr(self, f"_{name}")(form)
        self.happens(f"before the answer to {name}")
        return answer

    def open_file(self, path: str, asked: str | None) -> Piece:
        """Return a job's file, or the part that a Range header asks for."""
        job_id, name = path.split("/")[-2:]
        self.ranges.append((name, asked))
        data = self.files[job_id][name]
        status, headers, begin = 200, {}, 0
        if asked is not None and not self.ignores_ranges:
            begin = int(asked.removeprefix("bytes=").rstrip("-"))
            if begin >= len(data):
                return Piece(416, b"", {}, 0)
            status, headers = 206, {"Content-Range": f"bytes {begin}-{len(data) - 1}/{len(data)}"}
        if self.changed.get(name, 0) > 0:
            self.changed[name] -= 1
            data = data[:-1] + bytes([data[-1] ^ 1])
        body = data[begin:]
        cut = self.cuts.get(name, 0) > 0
        if cut:
            self.cuts[name] -= 1
        return Piece(status, body, headers, len(body) // 2 if cut else len(body))

    def _submit_job(self, form: dict[str, str]) -> dict[str, Any]:
        job_id = f"GLBX-20250612-{len(self.jobs):010d}"
        first, end = (_day_of(form[name]) for name in ("start", "end"))
        days = [first + dt.timedelta(days=number) for number in range((end - first).days)]
        days = [day for day in days if day.weekday() != 5]
        self.files[job_id] = batch_files(
            job_id, form["schema"], days, padding=self.padding, content=self.content
        )
        now = dt.datetime.now(dt.UTC)
        self.jobs[job_id] = {
            **{name: form[name] for name in ("dataset", "symbols", "schema", "stype_in")},
            **{name: form[name] for name in ("encoding", "compression", "split_duration")},
            "id": job_id,
            "start": f"{first}T00:00:00.000000000Z",
            "end": f"{end} 00:00:00+00:00",
            "delivery": "download",
            "limit": None,
            "cost_usd": None,
            "state": "received",
            "looks": 0,
            "ts_received": now.isoformat(),
        }
        return self.jobs[job_id]

    def _list_jobs(self, form: dict[str, str]) -> list[dict[str, Any]]:
        """Return the short form that the API changed to: no more than what tells jobs apart."""
        since = dt.datetime.fromtimestamp(int(form["since"]) / 1e9, dt.UTC)
        names = ("id", "state", "ts_received")
        return [
            {name: job[name] for name in names}
            for job in self.jobs.values()
            if dt.datetime.fromisoformat(job["ts_received"]) >= since
        ]

    def _get_job_details(self, form: dict[str, str]) -> dict[str, Any]:
        job = self.jobs[form["job_id"]]
        if job["looks"] < self.looks_until_done:
            job["looks"] += 1
            job |= {"state": "processing", "progress": 40}
        else:
            job |= {"state": self.last_state, "progress": 100, "cost_usd": self.billed_usd}
        return job

    def _list_files(self, form: dict[str, str]) -> object:
        """Return all files but the manifest, which lists them."""
        job_id = form["job_id"]
        base = self.file_url or f"{self.url}/v0/batch/download/{USER}"
        listed = []
        for name, data in self.files[job_id].items():
            if name != "manifest.json":
                urls = {"urls": {"https": f"{base}/{job_id}/{name}", "ftp": f"ftp://{name}"}}
                listed.append(entry_of(name, data) | urls)
        return self.listing(listed)


def _day_of(text: str) -> dt.date:
    return dt.date(1970, 1, 1) + dt.timedelta(days=int(text) // DAY_NS)
