"""What the event ring means: a bounded queue that keeps what it has, or refuses.

An event has a sequence number; numbers only grow. Published events that are not consumed are
never overwritten; consumed ones stay readable until `capacity` newer ones have come.
"""

from __future__ import annotations

__all__ = ["Ring"]

COVERS = ("copy_event", "push_batch", "read_batch")  # methods of `Ring`, and what they copy


class Ring:
    """A list of all events ever pushed, and two numbers."""

    def __init__(self, capacity: int) -> None:
        """Start empty, with room for `capacity` events that are not consumed."""
        self.capacity = capacity
        self.pushed: list[tuple[int, ...]] = []
        self.consumed = 0

    def push_batch(self, events: list[tuple[int, ...]], start: int, stop: int) -> tuple[str, int]:
        """Append `events[start:stop]` as far as there is room; return why and where it stopped."""
        for index in range(start, stop):
            if len(self.pushed) - self.consumed == self.capacity:
                return "RING_FULL", index
            self.pushed.append(events[index])
        return "DONE", stop

    def read_batch(self, first: int, limit: int) -> tuple[str, list[tuple[int, ...]]]:
        """Return up to `limit` events from sequence number `first`, or REFUSED if any is gone."""
        published = len(self.pushed)
        if first > published or first < max(published - self.capacity, 0):
            return "REFUSED", []
        return "DONE", self.pushed[first : first + limit]
