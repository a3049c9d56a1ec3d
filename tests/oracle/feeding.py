"""What happens in which order while bytes are fed: one record after the other.

An item is ("event", instrument_id, ts_recv) or ("other",), as they stand in the stream. What is
scheduled for a time comes before the first event received then or later; other records come after
all events before them; an id gets its slot before its first event is applied.
"""

from __future__ import annotations

from typing import Any

__all__ = ["feed_bytes"]

COVERS = ("first_due", "first_unresolved", "resolve_some")  # where its batches end

Item = tuple[Any, ...]


def feed_bytes(
    items: list[Item], schedule: list[int], known: list[int]
) -> tuple[list[Item], list[int], int]:
    """Return what the border does and how many events are applied by then; all ids; all events.

    `known` are the ids that have a slot before the stream begins.
    """
    done: list[Item] = []
    ids, waiting, events = list(known), sorted(schedule), 0
    for item in items:
        if item[0] == "other":
            done.append(("other", events))
            continue
        _, instrument_id, ts_recv = item
        while waiting and ts_recv >= waiting[0]:
            done.append(("scheduled", waiting.pop(0), events))
        if instrument_id not in ids:
            ids.append(instrument_id)
        events += 1
    return done, ids, events
