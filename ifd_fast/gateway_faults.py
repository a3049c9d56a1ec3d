"""What a gateway does wrong on purpose: planned in a file, or drawn from a seed.

A fault has a place: how many market-by-order records of the tape have been passed. It happens once,
to the session that passes its place first, so that the same plan gives the same trouble whatever
the speed. Faults of the handshake have the number of a connection instead.
"""

from __future__ import annotations

import random
import threading
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from ifd_fast.errors import UsageError

__all__ = [
    "AT_HANDSHAKE",
    "FOR_NOW",
    "IN_STREAM",
    "KINDS",
    "Fault",
    "Faults",
    "Plan",
    "draw_faults",
    "load_faults",
]

# While records flow, by what the client sees of it.
IN_STREAM: Final = (
    "eof",  # the session ends between two records, without a word
    "cut",  # it ends inside a record
    "reset",  # the connection is reset
    "stall",  # silence for `seconds`, no heartbeat either; then it goes on
    "half_open",  # silence for good, the connection open
    "slow_reader",  # a warning that the client reads too slowly
    "error",  # an error record that ends nothing: code 7, records skipped
    "fatal",  # an error record, then the end: code 6, internal
    "corrupt",  # bytes that no decompressor takes; of an uncompressed session a torn record
)
AT_HANDSHAKE: Final = (
    "auth_refused",  # success=0, authentication failed
    "key_deactivated",
    "connection_limit",
    "aged_out",  # a replay is refused: code 8
    "no_greeting",  # the connection is accepted, and closed without a word
)
FOR_NOW: Final = ("connection_limit", "no_greeting")  # of those, what a client tries again after
KINDS: Final = (*IN_STREAM, *AT_HANDSHAKE)
STALL_S: Final = 1.0


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One fault; `after_records` for those of the stream, `connection` (from 1) for the others."""

    kind: str
    after_records: int = 0
    connection: int = 0
    seconds: float = STALL_S

    def __post_init__(self) -> None:
        """Refuse what can't happen."""
        if self.kind not in KINDS:
            raise ValueError(f"`kind` must be one of {', '.join(KINDS)}, was {self.kind!r}")
        if self.kind in AT_HANDSHAKE and self.connection < 1:
            raise ValueError(f"{self.kind} needs `connection`, 1 or more: which one it happens to")
        if self.after_records < 0 or not 0.0 <= self.seconds <= 3600.0:
            raise ValueError("`after_records` must be 0 or more, `seconds` 0 to 3600")


class Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a file of faults holds."""

    fault: list[Fault]


class Faults:
    """The faults that have not happened yet; sessions take theirs from several threads."""

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        found = list(faults)
        self._lock = threading.Lock()
        self._stream = sorted(
            (one for one in found if one.kind in IN_STREAM), key=lambda one: one.after_records
        )
        self._handshake = [one for one in found if one.kind in AT_HANDSHAKE]

    def next_place(self) -> int | None:
        """Return how many records of the tape lie before the next fault; None: there is none."""
        with self._lock:
            return self._stream[0].after_records if self._stream else None

    def take(self, passed: int) -> Fault | None:
        """Return the next fault once `passed` records reach it; it won't come again."""
        with self._lock:
            if self._stream and self._stream[0].after_records <= passed:
                return self._stream.pop(0)
            return None

    def of_connection(self, number: int) -> Fault | None:
        """Return what goes wrong with the handshake of connection `number`, if anything does."""
        with self._lock:
            for one in self._handshake:
                if one.connection == number:
                    return one
            return None


def draw_faults(seed: int, records: int, count: int = 10) -> list[Fault]:
    """Return `count` faults over a tape of `records`, of the kinds that a client can get over.

    Kinds take turns in an order that is drawn, and so are the places of those in the stream. The
    connections refused are two of the first `count`.
    """
    drawn = random.Random(seed)  # noqa: S311  # to be repeated, not to be secret
    kinds = [*IN_STREAM, *FOR_NOW]
    drawn.shuffle(kinds)
    found = []
    for number in range(count):
        kind, seconds = kinds[number % len(kinds)], drawn.uniform(0.1, 2.0)
        place, connection = drawn.randrange(max(records, 1)), drawn.randint(1, count)
        if kind in FOR_NOW:
            found.append(Fault(kind, connection=connection))
        else:
            found.append(Fault(kind, after_records=place, seconds=seconds))
    return sorted(found, key=lambda one: one.after_records)


def load_faults(text: str, records: int) -> Sequence[Fault]:
    """Return the faults that `text` means: a seed, or a TOML file with a [[fault]] each.

    Raises
    ------
    UsageError
        The file can't be read, or holds what is no fault.
    """
    if text.isdecimal():
        return draw_faults(int(text), records)
    try:
        tree = tomllib.loads(Path(text).read_text(encoding="utf-8"))
        return msgspec.convert(tree, Plan).fault
    except (OSError, ValueError) as error:  # msgspec's and tomllib's are ValueErrors too
        raise UsageError(f"--faults must be a seed or a TOML file of [[fault]]: {error}.") from None
