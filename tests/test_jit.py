"""The kernels' compiled cache: it can't serve stale code, and its absence stops nothing.

Method: a small package with its own copy of `_jit.py` is written, run, edited and run again, each
time in a fresh interpreter with one and the same cache home. Numba's own cache fails these tests.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ifd_fast import warming
from ifd_kernels import _jit
from tests.conftest import ROOT

LEAF = """\
from __future__ import annotations
from ifd_kernels._jit import kernel
from ifd_kernels.constants import STEP

@kernel
def leaf(x: int) -> int:
    return x + STEP
"""
EDGE = """\
from __future__ import annotations
from ifd_kernels._jit import kernel

@kernel
def inner(values, index: int) -> int:
    return values[index]

@kernel
def outer(values, index: int) -> int:
    return inner(values, 0) + inner(values, index)
"""
TOP = """\
from __future__ import annotations
from ifd_kernels._jit import kernel
from ifd_kernels.leaf import leaf

@kernel
def top(x: int) -> int:
    return leaf(x) * 10

@kernel
def pick(values, index: int) -> int:
    return values[index]
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """Return a folder with a package of two kernels and a constant beside a copy of `_jit.py`."""
    folder = tmp_path / "source" / "ifd_kernels"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    (folder / "constants.py").write_text("STEP = 1\n")
    (folder / "leaf.py").write_text(LEAF)
    (folder / "top.py").write_text(TOP)
    (folder / "edge.py").write_text(EDGE)
    shutil.copy(ROOT / "kernels" / "ifd_kernels" / "_jit.py", folder)
    return folder


def run(package: Path, code: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run `code` in a fresh interpreter that finds `package` first."""
    inherited = {name: value for name, value in os.environ.items() if "NUMBA" not in name}
    surroundings = inherited | {
        "PYTHONPATH": str(package.parent),
        "PYTHONDONTWRITEBYTECODE": "1",  # an edit within one second must be seen by Python too
        "NUMBA_CACHE_DIR": str(package.parent.parent / "cache"),
        **settings,
    }
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=package.parent,
        env=surroundings,
        check=False,
        capture_output=True,
        text=True,
    )


def answer(package: Path, code: str, **settings: str) -> str:
    """Return what `code` prints; it must not fail."""
    done = run(package, code, **settings)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


CALL = (
    "import ifd_kernels.top as t; assert t.__file__.startswith({root!r}), t.__file__; "
    "print(t.top(1), *t.top.stats.cache_hits.values())"
)


@pytest.mark.jit
def test_an_edit_of_a_called_file_is_seen(package: Path) -> None:
    """After an edit of a leaf kernel and of a constant elsewhere, the caller answers with both."""
    call = CALL.format(root=str(package))
    assert answer(package, call) == "20"
    assert answer(package, call) == "20 1"  # from the cache
    (package / "leaf.py").write_text(LEAF.replace("x + STEP", "x * 100 + STEP"))
    assert answer(package, call) == "1010"
    (package / "constants.py").write_text("STEP = 10000\n")
    assert answer(package, call) == "101000"
    assert answer(package, call) == "101000 1"


@pytest.mark.jit
def test_loaded_counts_kernels_as_they_are_first_called(package: Path) -> None:
    """None at first, then one for each, however often they are called."""
    call = (
        "import numpy, ifd_kernels.top as t; from ifd_kernels._jit import loaded; a = loaded(); "
        "t.top(1); b = loaded(); t.top(2); t.pick(numpy.zeros(1, 'i8'), 0); print(a, b, loaded())"
    )
    assert answer(package, call) == "0 1 2"


@pytest.mark.jit
def test_bounds_checks_have_a_cache_of_their_own(package: Path) -> None:
    """With a warm cache, switching bounds checks on still raises at an index out of range."""
    call = "import numpy, ifd_kernels.top as t; print(t.pick(numpy.zeros(1, 'i8'), 0))"
    assert answer(package, call) == "0"
    beyond = run(package, call.replace(", 0)", ", 1)"), NUMBA_BOUNDSCHECK="1")
    assert beyond.returncode != 0
    assert "IndexError" in beyond.stderr


@pytest.mark.jit
def test_bounds_are_checked_in_what_a_kernel_calls(package: Path) -> None:
    """With bounds checks on, an index out of range raises from within a called kernel too."""
    call = "import numpy, ifd_kernels.edge as e; print(e.outer(numpy.zeros(1, 'i8'), 1))"
    for _ in ("compiled", "from the cache"):
        beyond = run(package, call, NUMBA_BOUNDSCHECK="1")
        assert beyond.returncode == 1
        assert "IndexError" in beyond.stderr


@pytest.mark.jit
def test_only_what_python_calls_is_kept(package: Path) -> None:
    """A kernel that is only called by another has no cache entry, and one part for all integers."""
    call = "import numpy, ifd_kernels.edge as e, ifd_kernels._jit as j; "
    call += "e.outer(numpy.zeros(1, 'i8'), 0); "
    call += "print(len(e.inner.signatures), len(j.parts()['edge.inner'].signatures))"
    assert answer(package, call) == "0 1"
    assert answer(package, call) == "0 0"  # the caller came from the cache, whole
    cache = package.parent.parent / "cache"
    assert {path.name.partition("-")[0] for path in cache.rglob("*.nb?")} == {"edge.outer"}


@pytest.mark.jit
def test_a_cache_that_cannot_be_written_warns_and_runs(package: Path) -> None:
    """Where a file stands in the way of the cache folder, kernels compile, with one warning."""
    blocked = package.parent.parent / "blocked"
    blocked.write_text("a file, no folder")
    call = "import ifd_kernels.top as t, ifd_kernels._jit as j; print(t.top(1), j.cache_folder())"
    done = run(package, call, NUMBA_CACHE_DIR=str(blocked))
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "20 None"
    assert done.stderr.count("can't be written") == 1
    assert "Set NUMBA_CACHE_DIR" in done.stderr


@pytest.mark.jit
def test_other_packages_keep_their_cache_folder(package: Path) -> None:
    """The decorator puts numba's own setting back as it was."""
    call = "import numba; before = numba.config.CACHE_DIR; import ifd_kernels.top; "
    call += "print(numba.config.CACHE_DIR == before)"
    assert answer(package, call) == "True"


def test_without_the_compiler_kernels_are_plain_functions(package: Path) -> None:
    """With NUMBA_DISABLE_JIT=1 the same answers come without a cache folder."""
    call = "import ifd_kernels.top as t, ifd_kernels._jit as j; print(t.top(1), j.cache_folder())"
    assert answer(package, call, NUMBA_DISABLE_JIT="1") == "20 None"


@pytest.mark.jit
def test_old_caches_are_dropped(package: Path) -> None:
    """All but the newest few folders of other digests go, once they are a day old."""
    home = package.parent.parent / "cache" / "ifd-fast"
    for number in range(8):
        old = home / f"old{number}"
        (old / "inner").mkdir(parents=True)
        (old / "inner" / "code.nbc").write_text("")
        os.utime(old, (number, number))
    (home / "young").mkdir()
    answer(package, "import ifd_kernels.top")
    left = {path.name for path in home.iterdir()}
    assert "young" in left
    assert len(left) == _jit._KEPT_CACHES
    assert {"old7", "old6"} <= left


@_jit.kernel
def load(buffer: Any, offset: int) -> tuple[int, int, int]:
    """Return what the three loaders read at `offset`."""
    loaded = _jit.load_u64(buffer, offset), _jit.load_i64(buffer, offset)
    return *loaded, _jit.load_u32(buffer, offset)


@pytest.mark.parametrize("offset", range(9))
def test_loads_read_any_address(offset: int) -> None:
    """The loaders read little-endian integers at every alignment, signed and unsigned."""
    data = bytes(range(250, 256)) + bytes(range(20))
    buffer = np.frombuffer(data, np.uint8)
    expected = (
        int.from_bytes(data[offset : offset + 8], "little"),
        int.from_bytes(data[offset : offset + 8], "little", signed=True),
        int.from_bytes(data[offset : offset + 4], "little"),
    )
    assert load(buffer, offset) == expected


@pytest.mark.jit
def test_warm_up_makes_kernels_ready() -> None:
    """A warm-up calls every registered part; a second one compiles nothing new."""
    first, second = warming.warm_up(), warming.warm_up()
    assert second.folder == _jit.cache_folder()
    assert second.kernels == first.kernels
    assert second.seconds >= 0


WARM = """\
from ifd_fast import warming
from ifd_kernels import _jit
if __name__ == "__main__":
    done = warming.warm_up(apart=True)
    print(done.compiled == done.kernels > 0)
    print({name: len(one.signatures) for name, one in _jit.parts().items() if one.signatures[1:]})
"""
USE = """\
import datetime, pathlib, sys
from ifd_fast import warming
from ifd_fast.replaying import replay
from ifd_fast.simulated_files import pick_sessions, write_session
from ifd_fast.world import load_world
from ifd_kernels import _jit
session, = pick_sessions(datetime.date(2026, 1, 5), 1)
written = write_session(load_world("session"), 1, session, pathlib.Path(sys.argv[1]), records=9_000)
result = replay([written.path], definitions=[written.definitions])
print(warming.count_compiled())
print({name: len(one.signatures) for name, one in _jit.kernels().items() if one.signatures[1:]})
"""


@pytest.mark.jit
@pytest.mark.slow
def test_a_warm_cache_serves_simulator_and_replay(tmp_path: Path) -> None:
    """After a warm-up of an empty cache nothing compiles; each kernel has but one signature."""
    surroundings = os.environ | {
        "NUMBA_CACHE_DIR": str(tmp_path / "cache"),
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "kernels")]),
    }
    said = []
    for name, code in {"warm": WARM, "use": USE}.items():
        script = tmp_path / f"{name}.py"
        script.write_text(code)
        done = subprocess.run(
            [sys.executable, str(script), str(tmp_path)],
            env=surroundings,
            check=False,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        said.append(done.stdout.split("\n"))
    assert said == [["True", "{}", ""], ["0", "{}", ""]]


def test_a_part_is_registered_once() -> None:
    """Two works of one name are refused."""
    with pytest.raises(ValueError, match="registered twice"):
        warming.warms("wire")
