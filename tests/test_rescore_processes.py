"""`ifd rescore` in processes: many workers, a cluster, kills, lost workers and a full disk.

Goal: whatever ran it, and whatever happened to who ran it, the same bytes are left.
`RESCORE_KILLS=50` kills fifty times (`./dev faults`), CI takes one seed: three kills.
"""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ifd_fast.errors import IfdError
from ifd_fast.executing import Workers
from tests.strategies_rescore import clean, files_of, market, report, run, tree

pytestmark = [pytest.mark.jit, pytest.mark.slow]

KILLS = int(os.environ.get("RESCORE_KILLS", "1"))


def test_processes_and_a_cluster_find_the_same(tmp_path: Path) -> None:
    """Two workers, then Dask's: the same bytes in every file, in whatever order they ended."""
    from distributed import LocalCluster

    run(files_of(market()), tmp_path / "two", workers=2)
    assert tree(tmp_path / "two") == tree(clean())
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with LocalCluster(**options) as cluster:  # type: ignore[no-untyped-call]  # Dask has none
        run(files_of(market()), tmp_path / "dask", cluster=cluster.scheduler_address)
    assert tree(tmp_path / "dask") == tree(clean())


@pytest.mark.skipif(KILLS < 50, reason="seven workers on two cores: with RESCORE_KILLS=50")
def test_seven_workers_find_the_same(tmp_path: Path) -> None:
    """More workers than tasks."""
    run(files_of(market()), tmp_path / "seven", workers=7)
    assert tree(tmp_path / "seven") == tree(clean())


def command(out: Path, *options: str) -> list[str]:
    """Return the command line of a run over all of a market."""
    sources = [str(path) for path in files_of(market())]
    options = ("--profile", "ifd_v3_testing", "--workers", "2", "--quiet", *options)
    return [sys.executable, "-m", "ifd_fast", "rescore", *sources, "--out", str(out), *options]


@pytest.mark.parametrize("seed", range(KILLS))
def test_a_killed_run_is_gone_on_with(tmp_path: Path, seed: int) -> None:
    """Kill -9 of all its processes at a random moment, again and again, until one ends."""
    out, draw = tmp_path / "out", random.Random(seed)
    for _ in range(3):
        options = ("--resume",) if (out / "plan.json").exists() else ()
        with subprocess.Popen(command(out, *options), start_new_session=True) as process:
            try:
                process.wait(draw.uniform(0.8, 4.5))
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
    run(files_of(market()), out, resume=True)
    assert tree(out) == tree(clean())
    assert report(out)["digests"] == report(clean())["digests"]


def die_once(folder: Path) -> str:
    """Kill the process on the first call, return on the second."""
    marker = folder / "died"
    if not marker.exists():
        marker.touch()
        time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGKILL)
    return folder.name


def die(folder: Path) -> str:
    """Kill the process at every call."""
    os.kill(os.getpid(), signal.SIGKILL)
    return folder.name


def test_a_lost_worker_is_replaced(tmp_path: Path) -> None:
    """Its task is run again, others' too; a task that loses every worker ends the run."""
    folders = [tmp_path / name for name in ("a", "b", "c")]
    for folder in folders:
        folder.mkdir()
    for folder in folders[1:]:
        (folder / "died").touch()
    found = dict(Workers(2).run(die_once, folders))
    assert found == {folder: folder.name for folder in folders}
    with pytest.raises(IfdError, match="lost their worker 3 times"):
        list(Workers(1).run(die, folders[:1]))


def test_a_full_disk_is_told_and_gone_on_from(tmp_path: Path) -> None:
    """No file may grow beyond 40 kB: exit code 1, nothing looks finished, then all is done."""

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))

    out = tmp_path / "out"
    done = subprocess.run(
        command(out),
        preexec_fn=limit,  # pytest has one thread here
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "--resume" in done.stderr
    assert not list(out.glob("sealed/*/trade_date=*"))
    run(files_of(market()), out, resume=True)
    assert tree(out) == tree(clean())
