"""Four sessions of a small world, what a run over them leaves, and how runs are compared."""

from __future__ import annotations

import atexit
import hashlib
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ifd_fast.config import load_settings
from ifd_fast.executing import Workers
from ifd_fast.rescore_run import Request, Result, rescore
from ifd_fast.simulated_files import parse_plant, pick_sessions, write_session
from ifd_fast.world import load_world
from tests.test_end_to_end import FIRST_DATE, PLANTED, WORLD

__all__ = ["SESSIONS", "clean", "files_of", "market", "report", "run", "run_here", "tree"]

SESSIONS = 4
STAGES = ("sealed", "scored", "history", "units")


def run_here(patch: pytest.MonkeyPatch) -> None:
    """Have tasks run in this process, one after the other."""
    patch.setattr(Workers, "run", lambda _, function, tasks: ((t, function(t)) for t in tasks))


@cache
def market() -> Path:
    """Return a folder of four sessions, flow planted in the last."""
    folder = Path(tempfile.mkdtemp(prefix="ifd-market-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    (folder / "world.toml").write_text(WORLD)
    world = load_world(folder / "world.toml")
    plants = [parse_plant(f"{name}:{side}:57600:900:240:80") for name, side in PLANTED.items()]
    days = pick_sessions(FIRST_DATE, SESSIONS)
    for day in days:
        planted = plants if day is days[-1] else []
        write_session(world, 1, day, folder, compress=False, plants=planted)
    return folder


@cache
def clean() -> Path:
    """Return what an undisturbed run over the market leaves."""
    out = Path(tempfile.mkdtemp(prefix="ifd-rescored-"))
    atexit.register(shutil.rmtree, out, ignore_errors=True)
    with pytest.MonkeyPatch.context() as patch:
        run_here(patch)
        run(files_of(market()), out)
    return out


def files_of(market: Path) -> tuple[Path, ...]:
    """Return the recordings of a market, without its truth."""
    return tuple(sorted(market.glob("*.dbn*")))


def run(sources: tuple[Path, ...], out: Path, **options: Any) -> Result:
    """Score again by the testing profile, unless another is asked for."""
    settings = load_settings(options.pop("profile", "ifd_v3_testing"))
    return rescore(Request(sources, out, settings, **options))


def tree(out: Path) -> dict[str, str]:
    """Return the digest of every file of the stages; nothing unfinished may be among them."""
    found = {}
    for stage in STAGES:
        for path in sorted((out / stage).rglob("*")):
            assert not path.name.startswith(".tmp"), path
            if path.is_file():
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
                found[str(path.relative_to(out))] = digest
    return found


def report(out: Path) -> dict[str, Any]:
    """Return rescore.json."""
    document: dict[str, Any] = msgspec.json.decode((out / "rescore.json").read_bytes())
    return document
