"""The keeper's second duty: what was found, for people, programs and files, by its own threads.

Nothing here holds up the record. Blocks wait in memory until they are stored, BACKLOG_BYTES of
them at most: what comes then is counted as lost, the run's digests are void, and `ifd replay`
makes the rows again from the record. People are told by threads of their own (`telling`), programs
by the feed (`publishing`).
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final

import msgspec

from ifd_fast.live_text import format_end, format_signals, format_state
from ifd_fast.logs import get_logger
from ifd_fast.publishing import Publisher
from ifd_fast.record_ring import BlockKind, RecordRing, Word
from ifd_fast.telling import Teller, write_stdout

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import polars as pl

    from ifd_fast.keeper_plan import KeeperPlan
    from ifd_fast.keeping import FoundBlock
    from ifd_fast.row_store import RowStore
    from ifd_fast.signals import InstitutionalSignalV3

__all__ = ["RowKeeper"]

BACKLOG_BYTES: Final = 128 << 20
RETRY_S: Final = 0.5
STORE_END_S: Final = 15.0  # after the record is whole
FEED_END_S: Final = 1.0
TELL_END_S: Final = 2.0
_FEED_KINDS: Final = {BlockKind.ROWS: "windows", BlockKind.SIGNALS: "signals"}


class RowKeeper:
    """Stores, prints and calls back, as `plan` says, what the blocks of `ring` hold."""

    def __init__(self, ring: RecordRing, record: Path, plan: KeeperPlan) -> None:
        """Begin with nothing taken; frames are learnt of once there is something."""
        self.blocks_lost = 0
        self._ring = ring
        self._record = record
        self._plan = plan
        self._run_id = int(ring.words[Word.RING_ID])
        self._printer: Teller[str] | None = None
        if plan.form != "none":
            self._printer = Teller(write_stdout, self._note_told)
        self._callers: list[Teller[InstitutionalSignalV3]] = []
        self._feed = _serve_feed(record)
        self._waiting: deque[tuple[list[FoundBlock], int]] = deque()
        self._waiting_bytes = 0
        self._changed = threading.Condition()
        self._ends = False
        self._is_whole = False  # all is stored, `session.json` is written
        self._told = int(ring.words[Word.TOLD])
        self._thread: threading.Thread | None = None

    def take(self, blocks: list[FoundBlock], position: int) -> None:
        """Take blocks whose bytes are safe, and all before `position`; never waits."""
        size = sum(len(one.data) for one in blocks)
        with self._changed:
            if self._waiting_bytes + size > BACKLOG_BYTES:
                self.blocks_lost += len(blocks)
                blocks, size = [one for one in blocks if one.kind == BlockKind.END], 0
            self._waiting_bytes += size
            if self._waiting and not self._waiting[-1][0]:
                self._waiting.pop()  # a position alone
            self._waiting.append((blocks, position))
            self._changed.notify()
        if self._thread is None:  # what it imports would have kept the record waiting
            self._thread = threading.Thread(target=self._run, name="ifd-rows", daemon=True)
            self._thread.start()

    def tell_state(self, data: bytes) -> None:
        """Have a state printed at once: nobody waits for a disk to hear that it fails."""
        said = msgspec.json.decode(data)
        if self._printer is not None:
            self._printer.put(format_state(said["state"], said["why"], self._plan.form))
        self._publish("state", said)

    def tell_health(self, data: bytes) -> None:
        """Pass on what the session says of itself, with what is known of the keeper."""
        said = msgspec.json.decode(data)
        said["blocks_lost"] = self.blocks_lost
        said["lines_dropped"] = 0 if self._printer is None else self._printer.dropped
        said["backlog_bytes"] = self._waiting_bytes
        if self._feed is not None:
            said["feed"] = {"subscribers": self._feed.subscribers, "dropped": self._feed.dropped}
        self._publish("health", said)

    def lose(self) -> None:
        """Note that blocks may be missing: they were synced, and written over before stored."""
        self.blocks_lost += 1

    def finish(self) -> bool:
        """Wait until all is stored and told, within limits; say whether it is stored."""
        with self._changed:
            self._ends = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(STORE_END_S)
        for teller in self._tellers():
            teller.finish(TELL_END_S)
        if self._feed is not None:
            self._feed.close(FEED_END_S)
        return self._is_whole

    def _run(self) -> None:
        log = get_logger("keeper")
        try:
            from ifd_fast.row_store import RowStore

            self._call_back()
            self._work(RowStore(self._record, self._run_id, self._plan))
        except Exception:
            log.exception("rows are stored no more; `ifd replay` makes them from the record")

    def _work(self, store: RowStore) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._ends:
                    self._changed.wait()
                if not self._waiting:
                    break
                blocks, position = self._waiting.popleft()
            for block in blocks:
                if block.kind != BlockKind.END:
                    frame = store.take(block)
                    self._publish(_FEED_KINDS[block.kind], frame)
                    if block.kind == BlockKind.SIGNALS:
                        self._tell(frame, block.end)
            self._insist(store.store)
            if self._feed is not None:
                self._feed.settle()
            for block in blocks:
                if block.kind == BlockKind.END:
                    self._end(store, msgspec.json.decode(block.data))
            self._ring.words[Word.STORED] = position
            self._mark(position)
            with self._changed:
                self._waiting_bytes -= sum(len(one.data) for one in blocks)
        if not store.has_ended:
            self._end(store, {"ended": "engine died"})
        self._is_whole = True

    def _end(self, store: RowStore, said: dict[str, Any]) -> None:
        """Write what is to be said at the end, and have it printed."""
        said["blocks_lost"] = self.blocks_lost
        said["lines_dropped"] = 0 if self._printer is None else self._printer.dropped
        document: dict[str, Any] = {}
        self._insist(lambda: document.update(store.finish(said)))
        self._publish("end", document)
        if self._printer is not None:
            for line in format_end(document, self._record, self._plan.form):
                self._printer.put(line)

    def _insist(self, write: Callable[[], object]) -> None:
        """Write, and try again for as long as the disk refuses."""
        log, refused = get_logger("keeper"), ""
        while True:
            try:
                write()
            except OSError as error:
                reason = error.strerror or str(error)
                if reason != refused:
                    log.warning("rows can't be stored", reason=reason, folder=str(self._record))
                refused = reason
                time.sleep(RETRY_S)
            else:
                return

    def _call_back(self) -> None:
        """Find whom to call: each is told by a thread of its own, and guarded."""
        if not self._plan.calls:
            return
        from ifd_fast.callbacks import GuardedCallback
        from ifd_fast.errors import UsageError
        from ifd_fast.keeper_plan import find_function

        for name in self._plan.calls:
            try:
                guard = GuardedCallback(find_function(name))
            except UsageError as error:
                get_logger("keeper").error(str(error))
                continue
            self._callers.append(Teller(guard, self._note_told))

    def _publish(self, kind: str, said: pl.DataFrame | dict[str, Any]) -> None:
        if self._feed is not None:
            self._feed.publish(kind, said if isinstance(said, dict) else said.to_dicts())

    def _tell(self, frame: pl.DataFrame, end: int) -> None:
        if end <= self._told or not self._tellers():
            return
        from polars import col

        from ifd_fast.signals import SIGNAL_SCHEMA, iterate_signals

        shown = frame.with_columns(alert=col("alert") & ~col("withheld"))
        shown = shown.select(SIGNAL_SCHEMA.names())
        if self._printer is not None:
            for line in format_signals(shown, self._plan.form):
                self._printer.put(line)
        for caller in self._callers:
            for signal in iterate_signals(shown):
                caller.put(signal)

    def _tellers(self) -> list[Teller[Any]]:
        return [*([] if self._printer is None else [self._printer]), *self._callers]

    def _mark(self, position: int) -> None:
        for teller in self._tellers():
            teller.mark(position)
        if not self._tellers():
            self._ring.words[Word.TOLD] = position

    def _note_told(self) -> None:
        told = min(teller.position for teller in self._tellers())
        if told > int(self._ring.words[Word.TOLD]):
            self._ring.words[Word.TOLD] = told


def _serve_feed(record: Path) -> Publisher | None:
    """Return the record's feed; a folder that holds no socket costs the feed, not the record."""
    try:
        return Publisher(record)
    except OSError as error:
        reason = error.strerror or str(error)
        get_logger("keeper").warning("no feed is served", reason=reason, folder=str(record))
        return None
