"""A place to fetch into: settings that point to a local server, and what must hold at the end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from ifd_fast.finding import find_sources
from ifd_fast.spending import Ledger
from tests.historical_server import KEY, USD_OF_SYMBOL_DAY, HistoricalServer
from tests.strategies_runs import Done, invoke

__all__ = ["DAYS", "MBO", "PARENTS", "SCHEMAS", "Place", "make_place"]

DAYS = ("--from", "2025-06-09", "--to", "2025-06-10")
PARENTS = ("NQ.FUT", "NQ.OPT")
SCHEMAS = ["definition", "mbo", "statistics", "status"]
USD = {one: USD_OF_SYMBOL_DAY[one] * 2 * 2 for one in SCHEMAS}  # each symbol and day
MBO = "glbx-mdp3-20250609.mbo.dbn.zst"


class Place(NamedTuple):
    """A folder to fetch into, and the server that has it."""

    out: Path
    server: HistoricalServer
    ledger: Ledger

    def fetch(self, *arguments: str) -> Done:
        """Run `ifd fetch`; fail if the key is in sight."""
        done = invoke("fetch", "--out", self.out, *arguments)
        texts = [done.output.encode()]
        texts += [one.read_bytes() for one in self.out.parent.rglob("*") if one.is_file()]
        assert not any(KEY.encode() in text for text in texts)
        return done

    def first(self, *arguments: str) -> Done:
        """Run it for two days of two parents, one schema."""
        return self.whole("--schemas", "mbo", *arguments)

    def whole(self, *arguments: str) -> Done:
        """Run it for two days of two parents, all schemas."""
        return self.fetch(*DAYS, "--parents", ",".join(PARENTS), "--yes", *arguments)

    def command(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start it as a process of its own."""
        words = [sys.executable, "-m", "ifd_fast", "fetch", "--out", str(self.out), *arguments]
        return subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    @property
    def usd(self) -> float:
        """What the ledger has, open reservations included."""
        return sum(one.price.usd_1e9 for one in self.ledger.spent()) / 1e9

    @property
    def is_settled(self) -> bool:
        """Whether nothing of the ledger is open."""
        return not any(one.is_open for one in self.ledger.spent())

    def check_whole(self, *schemas: str) -> None:
        """All files are here as the server has them; each job was submitted and paid once."""
        desk, wanted = self.server.batch, list(schemas or ("mbo",))
        assert sorted(job["schema"] for job in desk.jobs.values()) == wanted
        for job_id, files in desk.files.items():
            folder = self.out / job_id
            assert {one.name for one in folder.iterdir()} == set(files)
            for name in set(files) - {"manifest.json"}:
                assert (folder / name).read_bytes() == files[name], name
        assert self.usd == pytest.approx(sum(USD[one] for one in wanted))
        assert self.is_settled
        found = find_sources([self.out])
        found.require_whole()
        assert found.unknown == ()
        assert sorted(one.kind for one in found.files) == sorted(wanted * 2)


def make_place(server: HistoricalServer, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """Return a place whose settings point to the server, with the key set and no pauses."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("IFD_DATABENTO_GATEWAY", server.url)
    monkeypatch.setenv("IFD_DATABENTO_TIMEOUT_S", "2")
    monkeypatch.setenv("IFD_BUDGET_LEDGER", str(folder / "ledger"))
    monkeypatch.setenv("DATABENTO_API_KEY", KEY)
    monkeypatch.setattr("ifd_fast.historical.time.sleep", lambda _: None)
    return Place(folder / "out", server, Ledger(folder / "ledger"))
