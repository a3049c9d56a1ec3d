"""Write the two lock files: every package with its version and hashes, no index address.

Run by `./dev lock` after a change of the dependencies in pyproject.toml.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTHON = "3.11"  # the oldest we support; wheels of newer ones are in the hashes too
HEAD = """\
# {what}, locked with hashes for Python {python} and later on Linux.
# Written by `./dev lock` from pyproject.toml; don't edit.
"""
LOCKS = {
    "requirements.lock": ("What ifd-fast needs to run", []),
    "requirements-dev.lock": ("What ifd-fast needs to be built, tested and measured", ["dev"]),
}


def lock(name: str, what: str, extras: list[str]) -> None:
    """Resolve the dependencies with `extras` and write them to the file `name`."""
    command = [sys.executable, "-m", "uv", "pip", "compile", "pyproject.toml", "--quiet"]
    command += ["--generate-hashes", "--no-annotate", "--no-header", "--python-version", PYTHON]
    command += [word for extra in extras for word in ("--extra", extra)]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    lines = [line for line in done.stdout.splitlines() if not line.startswith("--")]
    text = HEAD.format(what=what, python=PYTHON) + "\n".join(lines) + "\n"
    if "://" in text:
        raise SystemExit(f"{name}: an address is in the lock; resolve without it")
    (ROOT / name).write_text(text)


def main() -> None:
    """Write both files."""
    for name, (what, extras) in LOCKS.items():
        lock(name, what, extras)


if __name__ == "__main__":
    main()
