"""Measure the other libraries, and us, on one DBN file and its compressed twin.

    ./dev peers FILE.dbn FILE.dbn.zst --definitions DEFINITIONS.dbn.zst

Makes `.venv-peers` from bench/peers/requirements.txt, runs each path in a process of its own and
writes bench/results/peers.json. A path that fails is written down with its last line of error.
"""

from __future__ import annotations

import argparse
import datetime as dt
import hashlib
import json
import os
import platform
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
VENV = ROOT / ".venv-peers"
PYTHON = VENV / "bin" / "python"
RESULT = ROOT / "bench" / "results" / "peers.json"
TIMEOUT_S = 1_800

BOTH = (
    "pandas_to_df",
    "pandas_to_df_load_alone",
    "polars_to_ndarray",
    "polars_expert",
    "zstd_alone",
)
PLAIN_ONLY = ("duckdb_on_parquet",)
BOOKS = ("nautilus_stream", "nautilus_batch")


def make_environment() -> None:
    """Install the peers, unless they are there for these very requirements."""
    requirements = HERE / "requirements.txt"
    state = hashlib.sha256(requirements.read_bytes()).hexdigest()
    mark = VENV / "state"
    if mark.exists() and mark.read_text() == state:
        return
    venv.create(VENV, with_pip=True, clear=True)
    subprocess.run([PYTHON, "-m", "pip", "install", "-qq", "-r", requirements], check=True)
    mark.write_text(state)


def peer_versions() -> dict[str, str]:
    """Return the version of each peer."""
    names = ["databento", "duckdb", "nautilus_trader", "pandas", "polars"]
    code = (
        "import importlib.metadata as m, json, sys; "
        "print(json.dumps({name: m.version(name) for name in sys.argv[1:]}))"
    )
    done = subprocess.run([PYTHON, "-c", code, *names], check=True, capture_output=True, text=True)
    versions: dict[str, str] = json.loads(done.stdout)
    return versions


def cpu_name() -> str:
    """Return what the machine calls its processor."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def run(command: list[object], name: str, file: Path) -> dict[str, object]:
    """Run one measurement; what it prints last is its result."""
    print(f"{name} on {file.name} ...", flush=True)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    try:
        done = subprocess.run(
            [str(word) for word in command],
            check=True,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            env=environment,
        )
        result: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired:
        result = {"path": name, "file": file.name, "error": f"over {TIMEOUT_S} s"}
    except subprocess.CalledProcessError as error:
        last = (error.stderr.strip().splitlines() or ["no output"])[-1]
        result = {"path": name, "file": file.name, "error": last}
    print(f"  {result.get('records_per_s', result.get('error'))}", flush=True)
    return result


def measure_file(
    file: Path, definitions: list[Path], rounds: int, only: list[str]
) -> list[dict[str, object]]:
    """Measure every path that fits `file`."""
    plain = file.suffix == ".dbn"
    results = []
    jobs: list[tuple[str, list[object]]] = [
        ("ifd_fast", [sys.executable, HERE / "ours.py", file, "--rounds", rounds, "--definitions"])
    ]
    jobs[0][1].extend(definitions)
    for name in BOTH + (PLAIN_ONLY if plain else ()):
        slow = name.startswith("pandas")
        jobs.append(
            (name, [PYTHON, HERE / "paths.py", name, file, "--rounds", 1 if slow else rounds])
        )
    if plain:
        jobs += [(name, [PYTHON, HERE / "books.py", name, file]) for name in BOOKS]
    for name, command in jobs:
        if not only or name in only:
            results.append(run(command, name, file))
    return results


def disagreeing(results: list[dict[str, object]]) -> set[object]:
    """Return the digests of the peers' tables if there is more than one."""
    digests = {result["digest"] for result in results if result.get("digest")}
    return digests if len(digests) > 1 else set()


def main() -> None:
    """Measure all and write the result file."""
    parser = argparse.ArgumentParser(description="Measure other libraries beside ifd_fast.")
    parser.add_argument("files", type=Path, nargs="+", help="a .dbn, and .dbn.zst of the same")
    parser.add_argument("--definitions", type=Path, nargs="*", default=[])
    parser.add_argument("--workload", default="", help="what the files are, for the report")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=[], help="names of paths")
    parser.add_argument("--result", type=Path, default=RESULT)
    arguments = parser.parse_args()
    make_environment()
    results: list[dict[str, object]] = []
    for file in arguments.files:
        path = file.resolve()
        results += measure_file(path, arguments.definitions, arguments.rounds, arguments.only)
    if found := disagreeing(results):
        raise SystemExit(f"the peers' tables differ: {found}")
    document = {
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "load": os.getloadavg()[0],
        "workload": arguments.workload or arguments.files[0].name,
        "command": "./dev peers " + " ".join(path.name for path in arguments.files),
        "versions": peer_versions(),
        "results": results,
    }
    arguments.result.parent.mkdir(parents=True, exist_ok=True)
    arguments.result.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
