"""The regions that the count gate measures: one kernel each, on a fixed small workload.

A region is a setup that builds fresh state and returns a thunk; only the thunk is counted, and
its counts are divided by `events`. To add one, write it into `bench/regions_<module>.py`:

    @region("book.apply_batch", events=20_000)
    def apply_batch() -> Thunk:
        book, ring = ...
        return lambda: kernels.apply_batch(book, ring)

Setups run under valgrind as well, some fifty times slower than usual: fill arrays with numpy,
not with Python loops, and let nothing depend on the clock or on unseeded chance.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

__all__ = ["REGIONS", "Region", "Thunk", "load_regions", "region"]

Thunk: TypeAlias = Callable[[], object]


class Region(NamedTuple):
    """One counted piece of work."""

    events: int  # what the counts are divided by
    setup: Callable[[], Thunk]
    covers: tuple[str, ...]  # modules of leaf kernels that this region measures with it


REGIONS: Final[dict[str, Region]] = {}


def region(
    name: str, *, events: int, covers: tuple[str, ...] = ()
) -> Callable[[Callable[[], Thunk]], Callable[[], Thunk]]:
    """Register a setup under `module.kernel`; `events` is how many the thunk processes.

    `covers` names further kernel modules whose leaves the thunk runs, such as `orders`.
    """
    if events < 1:
        raise ValueError(f"`events` of region {name} must be at least 1, was {events}")
    if name in REGIONS:
        raise ValueError(f"region {name} is registered twice")

    def register(setup: Callable[[], Thunk]) -> Callable[[], Thunk]:
        REGIONS[name] = Region(events, setup, covers)
        return setup

    return register


def load_regions() -> dict[str, Region]:
    """Import every `bench/regions_*.py` and return the regions by name, sorted."""
    for path in sorted(Path(__file__).parent.glob("regions_*.py")):
        importlib.import_module(f"bench.{path.stem}")
    return dict(sorted(REGIONS.items()))
