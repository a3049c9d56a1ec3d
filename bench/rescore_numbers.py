"""The contract's table of re-scoring: sealing, scoring, sweeps, and how they grow with months.

Sixty sessions of `history` (600 options, the trades of `session`, fewer quotes) stand for a quarter
of a year; W1 is what a second of a busy feed costs. `python -m bench.contract rescore` runs it all,
`python -m bench.rescore_numbers FOLDER` the sixty sessions alone.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

from ifd_fast.config import load_settings
from ifd_fast.executing import Workers
from ifd_fast.rescore_run import Request, rescore
from ifd_fast.sealed_files import DayFolders
from ifd_fast.sealed_replay import seal_files
from ifd_fast.sources import open_source
from ifd_fast.sweeping import sweep

__all__ = ["measure_rescoring"]

# What, the bound, what was measured, whether that meets it, on which workload.
Row: TypeAlias = tuple[str, str, str, bool, str]

ROOT: Final = Path(__file__).resolve().parent.parent
PASSES: Final = 3
SESSIONS: Final = 60
SPANS: Final = (1, 15, SESSIONS)
WORKERS: Final = 2
SETS: Final = {
    "min_pressure_ratio": [1.5, 2.0, 2.5, 3.0, 4.0],
    "false_alerts_per_session": [0.25, 0.5, 1.0, 2.0],
}
LABEL: Final = f"{SESSIONS} sessions of `history`, 600 options, scored each second, two workers"


def measure_rescoring(raw: list[str], packed: Sequence[str], folder: Path) -> Iterator[Row]:
    """Yield the rows: `raw` and `packed` are files of W1, the latter of two sessions."""
    row, per_record_s = seal_row(raw, folder)
    yield row
    yield packed_row(packed, per_record_s, folder)
    yield from month_rows(folder)


def seal(files: Sequence[str], out: Path) -> tuple[float, int]:
    """Seal files in this process; return the seconds and the records."""
    began = time.perf_counter()
    with DayFolders(out, "NQ", {}) as folders:
        _, counts = seal_files([Path(one) for one in files], load_settings(), folders, {})
    return time.perf_counter() - began, int(counts["records"])


def seal_row(raw: list[str], folder: Path) -> tuple[Row, float]:
    """Return how fast one core seals a raw file, and the seconds a record."""
    passes = [seal(raw, folder / f"sealed-{number}") for number in range(PASSES)]
    seconds, records = min(passes)
    rate = records / seconds / 1e6
    shown = f"{rate:.1f} M records/s ({seconds / records * 1e9:.0f} ns a record)"
    what, label = "re-scoring: stage (a) of .dbn, one core", f"W1, {records / 1e6:.0f} M records"
    return (what, "≥ 15 M records/s", shown, rate >= 15, label), seconds / records


def packed_row(packed: Sequence[str], kernels_s: float, folder: Path) -> Row:
    """Return how fast two workers seal two compressed sessions, against what both halves cost."""
    market = [one for one in packed if ".mbo." in one]
    alone_s = min(decompress(market[0]) for _ in range(PASSES))
    best_s, records = float("inf"), 0
    for number in range(PASSES):
        out = folder / f"packed-{number}"
        began = time.perf_counter()
        result = rescore(Request(tuple(map(Path, packed)), out, load_settings(), workers=WORKERS))
        best_s = min(best_s, time.perf_counter() - began)
        records = sum(
            int(unit["counts"]["records"]) for unit in units_of(out, result.report["inputs"])
        )
    share = alone_s / (records / len(market))
    bound = 0.85 * WORKERS / (share + kernels_s)
    what = "re-scoring: stage (a) of two .dbn.zst on two cores, process start included"
    label = (
        f"W1, twice {records / len(market) / 1e6:.0f} M records; d {share * 1e9:.0f} + k "
        f"{kernels_s * 1e9:.0f} ns; hashing, scoring and the report are in it"
    )
    rate = records / best_s
    shown = f"{rate / 1e6:.1f} M records/s"
    return what, f"≥ {bound / 1e6:.1f} M records/s", shown, rate >= bound, label


def units_of(out: Path, inputs: list[dict[str, Any]]) -> Iterator[Any]:
    """Yield what is known of each unit of a run."""
    from ifd_fast.rescore_files import RescoreFolder

    for one in inputs:
        yield RescoreFolder(out).read(f"units/{one['unit']}.json")


def decompress(path: str) -> float:
    """Return the seconds that decompression alone takes."""
    began = time.perf_counter()
    with open_source(path) as source:
        for _ in source.chunks():
            pass
    return time.perf_counter() - began


def months(folder: Path) -> list[Path]:
    """Return the files of sixty sessions, simulated once."""
    out = folder / "months"
    if not out.exists():
        subprocess.run(
            [sys.executable, "-m", "ifd_fast", "simulate", "--preset", "history", "--sessions",
             str(SESSIONS), "--out", str(out)],
            check=True, stdout=subprocess.DEVNULL, cwd=ROOT,
        )  # fmt: skip
    return sorted(out.glob("*.dbn*"))


def month_rows(folder: Path) -> Iterator[Row]:
    """Yield what sixty sessions cost, sealed, scored, scored again, and by twenty sets."""
    files = months(folder)
    days = sorted({path.name.split(".")[0] for path in files})
    costs = []
    for span in SPANS:
        wanted = tuple(path for path in files if path.name.split(".")[0] in days[:span])
        seconds, stages = timed(wanted, folder / f"run-{span}")
        costs.append((span, seconds, stages))
    peak_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss >> 10
    _, _, whole = costs[-1]
    score_s = whole["fold"] + whole["score"]
    yield (
        "re-scoring: stage (b) with the baselines of every open",
        "≤ 120 s",
        f"{score_s:.0f} s ({whole['fold']:.0f} s of it folding facts)",
        score_s <= 120,
        LABEL,
    )
    again_s, _ = timed((folder / f"run-{SESSIONS}",), folder / "other", profile="ifd_v3_testing")
    yield from again_rows(folder, again_s)
    yield ("re-scoring: memory of a worker", "≤ 1 GB", f"{peak_mb} MB at most", peak_mb <= 1024,
           LABEL)  # fmt: skip
    shown = " / ".join(f"{stages['seal'] / span:.2f}" for span, _, stages in costs)
    linear = costs[-1][2]["seal"] / SESSIONS <= 1.1 * costs[1][2]["seal"] / SPANS[1]
    spans = " / ".join(map(str, SPANS))
    yield (f"re-scoring: seconds a session, stage (a), of {spans} sessions",
           f"{SESSIONS} within 10 % of {SPANS[1]}", f"{shown} s", linear, LABEL)  # fmt: skip
    shown = " / ".join(f"{stages['score'] / span:.2f}" for span, _, stages in costs)
    yield (f"re-scoring: seconds a session, stage (b), of {spans} sessions",
           "grows until 20 sessions are behind it", f"{shown} s", True, LABEL)  # fmt: skip


def again_rows(folder: Path, again_s: float) -> Iterator[Row]:
    """Yield what other thresholds cost once baselines are there, one set and twenty."""
    yield (
        "re-scoring: stage (b) by another profile, start to report",
        "–",
        f"{again_s:.0f} s; its lookback is another, so are its baselines",
        True,
        LABEL,
    )
    run = folder / f"run-{SESSIONS}"
    began = time.perf_counter()
    one = {"min_pressure_ratio": [2.5]}
    sweep(run, one, Workers(WORKERS))
    one_s = time.perf_counter() - began
    began = time.perf_counter()
    found = sweep(run, SETS, Workers(WORKERS))
    seconds = time.perf_counter() - began
    times = seconds / one_s
    yield (f"re-scoring: a sweep of {found.sets.height} threshold sets", "≤ 2 x one run",
           f"{seconds:.0f} s, {times:.1f} x one set with the same baselines ({one_s:.0f} s)",
           times <= 2, LABEL)  # fmt: skip


def timed(
    sources: tuple[Path, ...], out: Path, profile: str | None = None
) -> tuple[float, dict[str, float]]:
    """Run a re-scoring; return its seconds, and those of each stage."""
    marks: dict[str, list[float]] = {}

    def note(stage: str, done: int, total: int) -> None:
        del done, total
        marks.setdefault(stage, []).append(time.perf_counter())

    began = time.perf_counter()
    rescore(Request(sources, out, load_settings(profile), workers=WORKERS), note)
    ended = time.perf_counter()
    return ended - began, {stage: times[-1] - times[0] for stage, times in marks.items()}


if __name__ == "__main__":
    for line in month_rows(Path(sys.argv[1])):
        sys.stdout.write(f"{line}\n")
