"""Rows to canonical bytes: the kernels beside their oracle, in one group."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ifd_kernels.digest import pack_fixed, pack_text
from tests.oracle import digest as oracle

ROWS = 4_096
RATIO = 10  # of the oracle's time to the kernels'; they are hundreds of times quicker


def kernels() -> Callable[[], str]:
    """Return a call that digests a column of numbers and one of symbols."""
    numbers = np.arange(ROWS).view(np.uint8).reshape(ROWS, 8)
    text = np.tile(np.frombuffer(b"NQH6 C21000", np.uint8), ROWS)
    edges, no_nulls = np.arange(ROWS + 1) * 11, np.zeros(ROWS, np.bool_)

    def digest() -> str:
        cursor, out = np.arange(ROWS) * 25, np.zeros(ROWS * 25, np.uint8)
        pack_fixed(numbers, no_nulls, cursor, out)
        pack_text(text, edges, no_nulls, cursor, out)
        return hashlib.sha256(out.tobytes()).hexdigest()

    return digest


def plain() -> Callable[[], str | None]:
    """Return the same of the oracle."""
    rows = [(number, "NQH6 C21000") for number in range(ROWS)]
    return lambda: oracle.digest_rows(["i64", "text"], rows)


@pytest.mark.benchmark(group="digest of 4,096 rows of two columns")
@pytest.mark.parametrize("make", [kernels, plain])
def test_digest(make: Callable[[], Callable[[], str | None]], benchmark: Any) -> None:
    """Both give the same digest."""
    assert benchmark(make()) == plain()()


def best_of(work: Callable[[], object], rounds: int) -> float:
    """Return the quickest of some rounds, in seconds."""
    best = np.inf
    for _ in range(rounds):
        started = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - started)
    return float(best)


def test_kernels_beat_oracle() -> None:
    """The kernels are at least ten times quicker."""
    digest = kernels()
    digest()
    assert best_of(plain(), 3) > RATIO * best_of(digest, 20)
