"""Arrays that grow where they stand hold what a copy with more rows would hold."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ifd_fast.alignment import HAS_MMAP, SMALL_BYTES, give_back_compiler, grow_rows

PAIR = np.dtype([("number", "<i8"), ("sign", "i1")])


def copied(old: np.ndarray[Any, Any], rows: int, fill: object) -> np.ndarray[Any, Any]:
    """Return `old` with `rows` rows, the new ones `fill`, as a copy."""
    return np.concatenate([old, np.full((rows - len(old), *old.shape[1:]), fill, old.dtype)])


@given(
    shape=st.sampled_from([(), (3,), (2, 2)]),
    fill=st.sampled_from([0, -1, -(2**62)]),
    added=st.lists(st.integers(0, 9_000), max_size=6),
)
def test_grown_array_equals_a_copy_with_more_rows(
    shape: tuple[int, ...], fill: int, added: list[int]
) -> None:
    """Whatever the sizes and however often, rows are kept and new ones are filled."""
    grown = plain = np.zeros((2, *shape), np.int64)
    for number, more in enumerate(added):
        plain = copied(plain, len(plain) + more, fill)
        grown = grow_rows(grown, len(grown) + more, fill)
        grown[-1] = plain[-1] = number
        assert grown.flags.c_contiguous
        np.testing.assert_array_equal(grown, plain)


def test_records_are_filled_with_a_record() -> None:
    """A record of several fields stands in each new row, small arrays and big ones."""
    fill = np.array([(7, -1)], PAIR)[0]
    grown = np.zeros(3, PAIR)
    for rows in (5, 10_000, 20_000):
        grown = grow_rows(grown, rows, fill)
        assert (grown[3:] == fill).all()
        assert (grown[:3] == np.zeros(3, PAIR)).all()


@pytest.mark.skipif(not HAS_MMAP, reason="the system reserves no address space")
def test_array_grows_where_it_stands() -> None:
    """From the second growth on no row moves."""
    first = grow_rows(np.zeros(1, np.int64), SMALL_BYTES)
    second = grow_rows(first, 4 * SMALL_BYTES, -1)
    assert second.ctypes.data == first.ctypes.data


@pytest.mark.skipif(not HAS_MMAP, reason="the system reserves no address space")
def test_array_that_has_grown_elsewhere_is_moved() -> None:
    """Rows that another array has grown over are not given away a second time."""
    first = grow_rows(np.zeros(1, np.int64), SMALL_BYTES)
    second = grow_rows(first, 2 * SMALL_BYTES, 5)
    third = grow_rows(first, 2 * SMALL_BYTES)
    assert third.ctypes.data != second.ctypes.data
    assert (second[SMALL_BYTES:] == 5).all()
    assert not third.any()


def compiler_kb() -> int:
    """Return how much of the compiler's library is resident, KB."""
    found, is_compiler = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if not line.split()[0].endswith(":"):
            is_compiler = "libllvmlite" in line
        elif is_compiler and line.startswith("Rss:"):
            found += int(line.split()[1])
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what is resident")
def test_compiler_works_after_its_pages_were_given_back() -> None:
    """Its library shrinks to a part of what it was, and compiles as before."""
    from llvmlite import binding

    def compile_one(name: str) -> str:
        text = f"define i64 @{name}(i64 %a) {{\n  %b = add i64 %a, 1\n  ret i64 %b\n}}"
        module = binding.parse_assembly(text)
        machine = binding.Target.from_default_triple().create_target_machine()
        return str(machine.emit_assembly(module))

    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    compile_one("first")
    before = compiler_kb()
    give_back_compiler()
    assert compiler_kb() < before // 2
    assert "second" in compile_one("second")
