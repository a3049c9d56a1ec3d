"""The whole evaluation, as it goes into BENCHMARKS.md: `./dev evaluate`, then `./dev report`.

Runs `ifd evaluate` with 200 null sessions, drawn worlds and stresses, and keeps its numbers in
bench/results/evaluation.json. Arguments go to the command: `./dev evaluate --quick`; with
`./dev evaluate --skip worlds` everything but that part is run. Killed, it goes on when run again.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from bench.report import RESULTS

__all__ = ["main", "shorten"]

WHOLE: Final = (
    "--histories", "6", "--sessions", "150", "--null-sessions", "200", "--power-sessions", "60",
    "--claims", "5000", "--worlds", "20", "--stress",
)  # fmt: skip
OUT: Final = Path("outputs/evaluation")
DIMENSIONS: Final = ("all", "tier at k = 10", "k", "enough children", "duration", "style", "kind")


def shorten(document: dict[str, Any]) -> dict[str, Any]:
    """Return the document without what BENCHMARKS.md doesn't show."""
    kept = {name: value for name, value in document.items() if name != "recall"}
    kept["recall"] = [row for row in document["recall"] if row["dimension"] in DIMENSIONS]
    kept["reliability"] = {
        name: value for name, value in document["reliability"].items() if name != "curve"
    }
    return kept


def main() -> None:
    """Run the command and keep what it measured; its exit code is ours."""
    arguments = sys.argv[1:]
    if not arguments or arguments[0] == "--skip":
        arguments = [*WHOLE, "--out", str(OUT), *arguments]
    code = "from ifd_fast.cli import main; main()"
    ran = subprocess.run([sys.executable, "-c", code, "evaluate", *arguments], check=False)
    out = Path(arguments[arguments.index("--out") + 1]) if "--out" in arguments else OUT
    found = out / "evaluation.json"
    if found.is_file():
        document = shorten(json.loads(found.read_text()))
        document["command"] = f"ifd evaluate {' '.join(arguments)}"
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "evaluation.json").write_text(json.dumps(document, indent=1) + "\n")
    sys.exit(ran.returncode)


if __name__ == "__main__":
    main()
