"""Whoever takes what an engine has found: what is the same, wherever rows go from there."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Final

import numpy as np

from ifd_kernels.layout import MARK_PARTLY_OBSERVED, MARK_REBUILT, MARK_TAPE_GAP, MARK_UNMAPPED

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ifd_fast.engine import FlowEngine

__all__ = ["MANY_ROWS", "Taker"]

MANY_ROWS: Final = 32_768  # 5 MB; the frames of a session of 40,000 rows took 2 s one by one


class Taker(ABC):
    """Takes rows and signals from one engine; nobody else may.

    Attributes
    ----------
    gaps_ns
        (start, end) of what the tape lacks; windows that touch one are marked.
    repaired_ns
        (start, end) of gaps that were filled from history; so are these.
    """

    def __init__(self, engine: FlowEngine) -> None:
        """Take what `engine` finds from now on, and before it may give ids other names."""
        self.engine = engine
        self.gaps_ns: list[tuple[int, int]] = []
        self.repaired_ns: list[tuple[int, int]] = []
        engine.before_names = self.drain

    @abstractmethod
    def drain(self, observed_to_ns: int | None = None) -> None:
        """Take all rows and signals; windows that end after `observed_to_ns` were cut short."""

    def drain_when_full(self) -> None:
        """Take what was found once it is many rows: for whoever is in no hurry."""
        if self.engine.pending_count >= MANY_ROWS:
            self.drain()

    def grade(self, rows: NDArray[np.void], observed_to_ns: int | None) -> None:
        """Mark windows (n,) that were not wholly observed, and rows of unknown instruments."""
        starts, ends = rows["window_start_ns"], rows["window_end_ns"]
        cut = starts < self.engine.observed_from_ns
        if observed_to_ns is not None:
            cut |= ends > observed_to_ns
        rows["marks"] |= np.where(cut, MARK_PARTLY_OBSERVED, 0)
        for gap_start, gap_end in self.gaps_ns:
            inside = (starts < gap_end) & (ends > gap_start)
            rows["marks"] |= np.where(inside, MARK_TAPE_GAP, 0)
        for gap_start, gap_end in self.repaired_ns:
            inside = (starts < gap_end) & (ends > gap_start)
            rows["marks"] |= np.where(inside, MARK_REBUILT, 0)
        mapped = self.engine.instruments.identities["mapped"][rows["slot"]]
        rows["marks"] |= np.where(mapped == 0, MARK_UNMAPPED, 0)
