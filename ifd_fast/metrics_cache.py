"""Recent metrics in memory, by instrument, for five minutes of event time."""

from __future__ import annotations

import datetime as dt
from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ifd_fast.metrics import PressureMetrics

__all__ = ["MetricsCache"]

_EVERY_LIFE: Final = dt.timedelta(seconds=300)


class MetricsCache:
    """Metrics whose window ended less than `life` before the newest one's end.

    Life is event time: a replay keeps what a live run would have kept. Metrics come in order of
    their window's end; O(1) amortised each.
    """

    def __init__(self, life: dt.timedelta = _EVERY_LIFE) -> None:
        """Keep metrics for `life`; zero keeps only those of the newest window end."""
        self.life = life
        self._queue: deque[tuple[dt.datetime, PressureMetrics]] = deque()
        self._by_instrument: dict[int, deque[PressureMetrics]] = {}

    def add(self, metrics: PressureMetrics) -> None:
        """Take one more, and forget those that are too old now."""
        ended = metrics.window_end or metrics.time_window
        self._queue.append((ended, metrics))
        self._by_instrument.setdefault(metrics.instrument_id, deque()).append(metrics)
        while self._queue[0][0] + max(self.life, dt.timedelta.resolution) <= ended:
            self._forget_oldest()

    def of(self, instrument_id: int) -> tuple[PressureMetrics, ...]:
        """Return what is remembered of one instrument, oldest first."""
        return tuple(self._by_instrument.get(instrument_id, ()))

    def latest(self, instrument_id: int) -> PressureMetrics | None:
        """Return the newest of one instrument, None if all are too old."""
        kept = self._by_instrument.get(instrument_id)
        return kept[-1] if kept else None

    def __iter__(self) -> Iterator[PressureMetrics]:
        """Iterate over all that is remembered, oldest first."""
        return (metrics for _, metrics in self._queue)

    def __len__(self) -> int:
        return len(self._queue)

    def _forget_oldest(self) -> None:
        _, oldest = self._queue.popleft()
        kept = self._by_instrument[oldest.instrument_id]
        kept.popleft()
        if not kept:
            del self._by_instrument[oldest.instrument_id]
