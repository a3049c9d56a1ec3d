"""One client's session with the gateway: handshake, subscriptions, replay, then live."""

from __future__ import annotations

import secrets
import select
import time
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from ifd_fast import gateway_records as records
from ifd_fast.gateway_control import ControlLines, SessionEndError
from ifd_fast.gateway_protocol import (
    AuthRequest,
    ProtocolError,
    SubscriptionRequest,
    answers_challenge,
    encode_line,
    parse_auth,
)
from ifd_fast.gateway_sending import Sender
from ifd_fast.gateway_snapshot import snapshot_records
from ifd_fast.gateway_symbols import ALL_SYMBOLS
from ifd_fast.gateway_tape import FOREVER_NS, Cursors, Run
from ifd_fast.live_messages import ErrorCode, SystemCode
from ifd_kernels.layout import MBO_BYTES

if TYPE_CHECKING:
    import socket

    from numpy.typing import NDArray

    from ifd_fast.gateway_faults import Fault
    from ifd_fast.gateway_market import Market

__all__ = ["Session"]

LSG_VERSION: Final = "0.8.0"
RUN_RECORDS: Final = 4_096  # sent at once: 229 KB
WAIT_S: Final = 0.02  # between looks at the clock, the client and the end
HANDSHAKE_S: Final = 30.0
SLOW_S: Final = 5.0  # a client whose socket takes no byte for so long reads too slowly
TORN: Final = b"\xff" * 24  # no zstd frame; as a record's head, of a type that isn't


class _Replay(NamedTuple):
    """What a subscription asks of the past; `ids` None: of all instruments."""

    schema: str
    start_ns: int
    ids: NDArray[np.uint32] | None

    def wants(
        self, ts_event: NDArray[np.uint64], instrument_id: NDArray[np.uint32]
    ) -> NDArray[np.bool_]:
        """Return which records (n,) are asked for."""
        wanted: NDArray[np.bool_] = ts_event >= np.uint64(self.start_ns)
        return wanted if self.ids is None else wanted & np.isin(instrument_id, self.ids)


class Session:
    """Serves `market` to one client on `connection`; `run` returns once the session is over."""

    def __init__(self, market: Market, connection: socket.socket, number: int) -> None:
        self.number = number
        self.session_id = f"{number}"
        self._market = market
        self._socket = connection
        self._control = ControlLines(connection)
        self._wanted: dict[str, NDArray[np.uint32] | None] = {}
        self._stream_to: Sender | None = None
        self._heartbeat_s = 0
        self._cursors: Cursors = market.tape.origin
        self._at_end = False

    @property
    def sent_bytes(self) -> int:
        """Bytes of the DBN stream so far, before compression."""
        return 0 if self._stream_to is None else self._stream_to.stream_bytes

    @property
    def market_ns(self) -> int:
        """The market's time, where this session is."""
        return self._market.now_ns(self._cursors)

    def run(self) -> None:
        """Serve until the client leaves, the market ends, or a fault ends it."""
        reason = "closed"
        try:
            self._stream(self._shake_hands())
        except SessionEndError as end:
            reason = str(end)
        except (OSError, ValueError) as error:
            reason = "gateway closed" if self._market.is_closing else type(error).__name__
        finally:
            self._socket.close()
            self._market.tell("session ended", session=self.number, reason=reason,
                              bytes=self.sent_bytes)  # fmt: skip

    def _shake_hands(self) -> AuthRequest:
        """Let the client in and take what it subscribes to, until it says to start."""
        market, fault = self._market, self._market.faults.of_connection(self.number)
        if fault is not None and fault.kind == "no_greeting":
            self._happen(fault)
        challenge = secrets.token_hex(16)
        self._socket.sendall(encode_line(lsg_version=LSG_VERSION) + encode_line(cram=challenge))
        fields = self._control.read_fields(HANDSHAKE_S)
        try:
            auth = parse_auth(fields, market.heartbeat_min_s)
            if not answers_challenge(auth.answer, challenge, market.key):
                raise ProtocolError("User authentication failed")  # noqa: TRY301
            if auth.dataset != market.tape.dataset:
                raise ProtocolError(f"dataset {auth.dataset} is not served here")  # noqa: TRY301
            refused = fault is not None and fault.kind in _REFUSALS
            if refused and fault is not None:
                market.tell_fault(fault, self)
                raise ProtocolError(_REFUSALS[fault.kind])  # noqa: TRY301
            if market.session_count > market.most_sessions:
                raise ProtocolError(_REFUSALS["connection_limit"])  # noqa: TRY301
        except ProtocolError as error:
            self._socket.sendall(encode_line(success=0, error=error))
            raise SessionEndError(f"refused: {error}") from None
        self._socket.sendall(encode_line(success=1, session_id=self.session_id))
        market.tell("session authenticated", session=self.number, client=auth.client)
        self._control.read_until_start()
        return auth

    def _stream(self, auth: AuthRequest) -> None:
        market = self._market
        self._cursors = market.join()
        self._heartbeat_s = auth.heartbeat_interval_s
        self._stream_to = Sender(self._socket, ts_out=auth.ts_out, compressed=auth.compressed)
        dataset = market.tape.dataset
        header = records.encode_live_header(dataset, self.market_ns, ts_out=auth.ts_out)
        self._stream_to.send(header)
        while not market.is_closing:
            self._begin(self._control.take_subscriptions())
            if not self._send_next():
                self._wait()
            self._control.poll()
        raise SessionEndError("gateway closed")

    def _begin(self, taken: list[SubscriptionRequest]) -> None:
        """Answer subscriptions: acknowledge, map, then send what they ask of the past."""
        now_ns = self.market_ns
        replays: list[_Replay] = []
        for one in taken:
            if not one.schema:
                self._send_error(ErrorCode.INVALID_SUBSCRIPTION, one.symbols[0])
                raise SessionEndError(f"invalid subscription: {one.symbols[0]}")
            text = f"Subscription request {one.number} for {one.schema} data succeeded"
            self._send_record(records.encode_system(now_ns, SystemCode.SUBSCRIPTION_ACK, text))
            ids = self._resolve(one, now_ns)
            mine = None if ALL_SYMBOLS in one.symbols else ids
            self._want(one.schema, mine)
            if one.snapshot:
                book = snapshot_records(self._market.tape, self._cursors, ids.tolist(), now_ns)
                self._send_rows(book.view(np.uint8).reshape(-1, MBO_BYTES))
            if one.start_ns is not None:
                replays.append(_Replay(one.schema, one.start_ns, mine))
        if replays:
            self._replay(replays)

    def _resolve(self, asked: SubscriptionRequest, now_ns: int) -> NDArray[np.uint32]:
        """Return the ids a subscription brings, their mappings sent; unknown symbols are told."""
        found: list[int] = []
        for symbol in asked.symbols:
            listed = self._market.symbology.resolve(asked.stype_in, symbol)
            if not listed and symbol != ALL_SYMBOLS:
                text = f"Failed to resolve symbol: {symbol}"
                self._send_error(ErrorCode.SYMBOL_RESOLUTION_FAILED, text)
            for one in listed:
                requested = one.symbol if symbol == ALL_SYMBOLS else symbol
                self._send_record(records.encode_mapping(one, asked.stype_in, requested, now_ns))
                found.append(one.instrument_id)
        return np.unique(np.array(found, np.uint32))

    def _want(self, schema: str, ids: NDArray[np.uint32] | None) -> None:
        """Have records of these instruments sent from now on; None: of all, unlisted ones too."""
        held = self._wanted.get(schema, np.zeros(0, np.uint32))
        self._wanted[schema] = None if held is None or ids is None else np.union1d(held, ids)

    def _replay(self, replays: list[_Replay]) -> None:
        """Send what was captured before the session joined, of each subscription since its start.

        A record that several ask for is sent once.
        """
        fault = self._market.faults.of_connection(self.number)
        if fault is not None and fault.kind == "aged_out":
            self._market.tell_fault(fault, self)
            self._send_error(ErrorCode.REPLAY_AGED_OUT, "Replay data has aged out")
            raise SessionEndError("replay aged out")
        tape, joined = self._market.tape, self._cursors
        cursors = tape.beginning
        while (run := tape.next_run(cursors, FOREVER_NS, RUN_RECORDS)) is not None:
            stop = min(run.stop, joined[run.part])
            if run.start >= stop and all(
                at >= end for at, end in zip(cursors, joined, strict=True)
            ):
                break
            part, mine = tape.parts[run.part], slice(run.start, max(run.start, stop))
            kept = np.zeros(mine.stop - mine.start, np.bool_)
            for one in replays:
                if one.schema == part.schema:
                    kept |= one.wants(part.ts_event[mine], part.instrument_id[mine])
            self._send_rows(part.rows[mine][kept])
            cursors = run.cursors
        for schema in dict.fromkeys(one.schema for one in replays):
            text = f"Finished {schema} replay"
            done = records.encode_system(self.market_ns, SystemCode.REPLAY_COMPLETED, text)
            self._send_record(done)

    def _send_next(self) -> bool:
        """Send what comes next on the tape, up to the next fault; say whether there was any."""
        market, tape = self._market, self._market.tape
        passed = tape.order_count(self._cursors)
        while (fault := market.faults.take(passed)) is not None:  # several may have one place
            self._happen(fault)
        run = tape.next_run(self._cursors, market.until_ns(), RUN_RECORDS)
        if run is None:
            if tape.next_ns(self._cursors) is None:
                self._reach_end()
            return False
        part = tape.parts[run.part]
        place = market.faults.next_place()
        if (
            part.schema == "mbo"
            and place is not None
            and passed < place < passed + run.stop - run.start
        ):
            stop = run.start + place - passed
            cursors = (*run.cursors[: run.part], stop, *run.cursors[run.part + 1 :])
            run = Run(run.part, run.start, stop, cursors)
        if part.schema in self._wanted:
            wanted = self._wanted[part.schema]
            rows = part.rows[run.start : run.stop]
            if wanted is not None:
                rows = rows[np.isin(part.instrument_id[run.start : run.stop], wanted)]
            self._send_rows(rows)
        self._cursors = run.cursors
        market.reach(run.cursors)
        return True

    def _reach_end(self) -> None:
        """End the session with the market, or say once that all of it was served."""
        if self._market.ends:
            raise SessionEndError("end of the market")
        if not self._at_end:
            self._at_end = True
            self._market.tell("all served", session=self.number)

    def _happen(self, fault: Fault) -> None:
        """Do what a fault says, and log it."""
        self._market.tell_fault(fault, self)
        kind = fault.kind
        if kind in ("eof", "no_greeting"):
            raise SessionEndError(kind)
        if kind == "cut":
            head = self._next_bytes()
            self._sender().send(head[: max(1, len(head) // 2)])
            raise SessionEndError(kind)
        if kind == "reset":
            self._sender().reset_on_close()
            raise SessionEndError(kind)
        if kind == "stall":
            self._market.pause(fault.seconds)
        elif kind == "half_open":
            while not self._market.is_closing:
                self._market.pause(WAIT_S)
        elif kind == "slow_reader":
            self._warn_slow()
        elif kind == "error":
            self._send_error(ErrorCode.SKIPPED_RECORDS, "Skipped records after slow reading")
        elif kind == "fatal":
            self._send_error(ErrorCode.INTERNAL_ERROR, "Internal error")
            raise SessionEndError(kind)
        elif kind == "corrupt":
            self._sender().send_unframed(TORN)
            raise SessionEndError(kind)

    def _next_bytes(self) -> bytes:
        """Return the record that comes next, for one that is cut inside it."""
        run = self._market.tape.next_run(self._cursors, FOREVER_NS, 1)
        if run is None:
            return TORN
        return bytes(self._market.tape.parts[run.part].rows[run.start])

    def _warn_slow(self) -> None:
        text = "Slow reader detected. Data may be delayed."
        self._send_record(
            records.encode_system(self.market_ns, SystemCode.SLOW_READER_WARNING, text)
        )

    def _send_error(self, code: int, text: str) -> None:
        self._send_record(records.encode_error(self.market_ns, code, text))

    def _send_record(self, record: bytes) -> None:
        self._send_rows(np.frombuffer(record, np.uint8).reshape(1, -1))

    def _send_rows(self, rows: NDArray[np.uint8]) -> None:
        sender = self._sender()
        sender.send_rows(rows, self.market_ns)
        if sender.longest_s > SLOW_S:
            seconds, sender.longest_s = sender.longest_s, 0.0
            self._market.tell("slow reader", session=self.number, seconds=round(seconds, 3))
            self._warn_slow()

    def _sender(self) -> Sender:
        if self._stream_to is None:
            raise SessionEndError("the stream has not begun")
        return self._stream_to

    def _wait(self) -> None:
        """Wait for the market or the client; a heartbeat if nothing was sent for the interval."""
        if time.monotonic() - self._sender().sent_at_s >= self._heartbeat_s:
            beat = records.encode_system(self.market_ns, SystemCode.HEARTBEAT, "Heartbeat")
            self._send_record(beat)
        select.select([self._socket], [], [], WAIT_S)


_REFUSALS: Final = {
    "auth_refused": "User authentication failed",
    "key_deactivated": "API key was deactivated",
    "connection_limit": "User has reached their open connection limit",
}
