"""What starts quickly: the package and the command line import nothing heavy.

Times are noisy, lists are not: a fresh interpreter says what it has imported.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.conftest import ROOT

HEAVY = (
    "aiohttp",
    "asyncio",
    "databento",
    "databento_dbn",
    "duckdb",
    "matplotlib",
    "numba",
    "numpy",
    "pandas",
    "polars",
    "pyarrow",
    "requests",
    "rich",
    "starlette",
)

SHOW = "\nimport sys; print('imported', *sorted({name.split('.')[0] for name in sys.modules}))"


def imported_by(code: str) -> set[str]:
    """Return the top-level modules that a fresh interpreter has after `code`."""
    done = subprocess.run(
        [sys.executable, "-c", code + SHOW], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return set(done.stdout.splitlines()[-1].split()[1:])


@pytest.mark.parametrize(
    "code",
    [
        "import ifd_fast",
        "import ifd_fast.cli",
        "import ifd_fast.errors",
        "import sys; sys.argv = ['ifd', '--help']\nfrom ifd_fast.cli import main\nmain()",
        "import sys; sys.argv = ['ifd', '--version']\nfrom ifd_fast.cli import main\nmain()",
    ],
)
def test_nothing_heavy_is_imported(code: str) -> None:
    """Neither the package nor `ifd --help` imports a heavy library."""
    assert not imported_by(code) & set(HEAVY)


def test_kernels_import_without_the_library() -> None:
    """The kernels know numpy and numba only; the package above them stays unloaded."""
    code = (
        "import importlib, pathlib, ifd_kernels\n"
        "for path in pathlib.Path(ifd_kernels.__file__).parent.glob('*.py'):\n"
        "    importlib.import_module(f'ifd_kernels.{path.stem}')"
    )
    banned = set(HEAVY) - {"numba", "numpy", "asyncio"}  # numba itself imports asyncio
    assert not imported_by(code) & (banned | {"ifd_fast", "click"})
