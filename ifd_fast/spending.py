"""The ledger of what Databento was asked for: reserved before a request is sent, settled after.

One SQLite file; each step is one transaction, on the disk when it returns. A process that dies
between the two leaves its reservation, which counts as spent until somebody settles it. Two
processes reserve one after the other: the month's limit is checked inside the transaction.
"""

from __future__ import annotations

import datetime as dt
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from ifd_fast.errors import AlreadyRunningError, BudgetError, DataError, IfdError, UsageError
from ifd_fast.pricing import DataRequest, Price, shown_usd

__all__ = ["Ledger", "Reserved", "Spent", "check_month", "month_of"]

SCHEMA_VERSION: Final = 1
LOCK_WAIT_S: Final = 10.0
RESERVED: Final = "reserved"
SETTLED: Final = "settled"
RELEASED: Final = "released"
_MONTH: Final = re.compile(r"[0-9]{4}-(0[1-9]|1[0-2])")

_SCHEMA: Final = f"""
CREATE TABLE requests (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    month TEXT NOT NULL,
    reserved_ns INTEGER NOT NULL,
    closed_ns INTEGER,
    state TEXT NOT NULL CHECK (state IN ('{RESERVED}', '{SETTLED}', '{RELEASED}')),
    kind TEXT NOT NULL, dataset TEXT NOT NULL, schema TEXT NOT NULL, stype_in TEXT NOT NULL,
    symbols TEXT NOT NULL, start_ns INTEGER NOT NULL, end_ns INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL,
    usd_1e9 INTEGER NOT NULL CHECK (usd_1e9 >= 0));
CREATE INDEX requests_by_month ON requests (month);
CREATE TABLE shares (
    request_id INTEGER NOT NULL REFERENCES requests (id),
    symbol TEXT NOT NULL, usd_1e9 INTEGER NOT NULL,
    PRIMARY KEY (request_id, symbol));
PRAGMA user_version = {SCHEMA_VERSION};
"""
_SPENT: Final = """
    SELECT id, reserved_ns, state, kind, dataset, schema, stype_in, symbols, start_ns, end_ns,
        size_bytes, usd_1e9
    FROM requests WHERE state != ? AND (? IS NULL OR month = ?) ORDER BY id
"""


class Reserved(NamedTuple):
    """A reservation: its id, and what the month had cost before it and has with it, at 1e-9 USD."""

    id: int
    before_1e9: int
    after_1e9: int


@dataclass(frozen=True, slots=True)
class Spent:
    """One request of the ledger that counts: settled, or still reserved."""

    id: int
    reserved_ns: int
    is_open: bool  # reserved, not settled: under way, or its process died
    request: DataRequest
    price: Price


@dataclass(frozen=True, slots=True)
class Ledger:
    """The ledger in file `path`, made at the first reservation."""

    path: Path
    wait_s: float = LOCK_WAIT_S

    def reserve(
        self, request: DataRequest, price: Price, ceiling_1e9: int, now_ns: int
    ) -> Reserved:
        """Put a request's price aside in the month of `now_ns`; only then may it be sent.

        Raises
        ------
        BudgetError
            If the month would pass `ceiling_1e9`; nothing is written.
        AlreadyRunningError, DataError, IfdError
            If the ledger is locked, is none, or can't be written.
        """
        month = month_of(now_ns)
        with self._transaction(make=True) as connection:
            before = _sum(connection, month)
            if price.usd_1e9 and before + price.usd_1e9 > ceiling_1e9:
                raise BudgetError(_refusal(request, price, month, ceiling_1e9 - before))
            number = _insert(connection, request, price, month, now_ns)
        return Reserved(number, before, before + price.usd_1e9)

    def settle(self, number: int, now_ns: int, usd_1e9: int | None = None) -> None:
        """Close a reservation with what it cost: what was reserved, unless told otherwise."""
        self._close(number, SETTLED, now_ns, usd_1e9)

    def release(self, number: int, now_ns: int) -> None:
        """Close a reservation that came to nothing: the request was refused or never sent."""
        self._close(number, RELEASED, now_ns, None)

    def spent(self, month: str | None = None) -> list[Spent]:
        """Return what counts of one month, or of all, in the order of reservation."""
        if not self.path.exists():
            return []
        with self._transaction() as connection:
            found = connection.execute(_SPENT, (RELEASED, month, month)).fetchall()
            shares: dict[int, list[tuple[str, int]]] = {}
            for number, *share in connection.execute("SELECT * FROM shares ORDER BY rowid"):
                shares.setdefault(number, []).append((share[0], share[1]))
        return [_spent(row, tuple(shares.get(row[0], ()))) for row in found]

    def total_1e9(self, month: str) -> int:
        """Return what a month has cost, open reservations included, at 1e-9 USD."""
        if not self.path.exists():
            return 0
        with self._transaction() as connection:
            return _sum(connection, month)

    def _close(self, number: int, state: str, now_ns: int, usd_1e9: int | None) -> None:
        with self._transaction() as connection:
            changed = connection.execute(
                "UPDATE requests SET state = ?, closed_ns = ?, usd_1e9 = coalesce(?, usd_1e9)"
                " WHERE id = ? AND state = ?",
                (state, now_ns, usd_1e9, number, RESERVED),
            ).rowcount
        if changed != 1:
            raise UsageError(
                f"Ledger {self.path} has no open reservation {number}."
                " `ifd cost` lists those that are open."
            )

    @contextmanager
    def _transaction(self, *, make: bool = False) -> Iterator[sqlite3.Connection]:
        """Hold the ledger alone for one step: all of it is on the disk at the end, or nothing."""
        try:
            if make:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            connection = _connect(self.path, self.wait_s, make=make)
        except (sqlite3.Error, OSError) as error:
            raise self._failure(error) from None
        try:
            try:
                connection.execute("BEGIN IMMEDIATE")
                _check_version(connection, self.path)
                yield connection
                connection.execute("COMMIT")
            except sqlite3.Error as error:
                raise self._failure(error) from None
        finally:
            connection.close()  # rolls back what was not committed

    def _failure(self, error: Exception) -> IfdError:
        if "locked" in str(error):
            return AlreadyRunningError(
                f"Ledger {self.path} was held by another process for {self.wait_s:g} s."
                " Nothing was written to it. Wait until it is done, or end it."
            )
        if isinstance(error, sqlite3.DatabaseError) and type(error) is sqlite3.DatabaseError:
            return DataError(
                f"{self.path} is no ledger, or a damaged one ({error}). Nothing was written to it."
                " Put a copy back; without one the month's spending is not known."
            )
        return IfdError(
            f"Ledger {self.path} can't be used ({error})."
            " Check its folder, the disk's space, or set budget.ledger."
        )


def month_of(ts_ns: int) -> str:
    """Return the month of a time, UTC, as in `2026-11`."""
    return dt.datetime.fromtimestamp(ts_ns // 1_000_000_000, tz=dt.UTC).strftime("%Y-%m")


def check_month(text: str) -> str:
    """Return `text` if it is a month as in `2026-11`, else raise UsageError."""
    if _MONTH.fullmatch(text) is None:
        raise UsageError(f"a month must be as in 2026-11, was {text!r}.")
    return text


def _connect(path: Path, wait_s: float, *, make: bool) -> sqlite3.Connection:
    # Always writable: what a killed process left half written is rolled back by the next reader.
    uri = f"{path.absolute().as_uri()}?mode={'rwc' if make else 'rw'}"
    connection = sqlite3.connect(uri, uri=True, timeout=wait_s, isolation_level=None)
    try:
        # EXTRA syncs the folder too once the journal is gone: a commit survives a loss of power.
        connection.execute("PRAGMA synchronous = EXTRA")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _check_version(connection: sqlite3.Connection, path: Path) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if version == 0 and tables == 0:
        for statement in _SCHEMA.split(";"):
            connection.execute(statement)  # not executescript, which would commit first
    elif version != SCHEMA_VERSION:
        raise DataError(
            f"{path} is a ledger of version {version} or none, this program reads"
            f" {SCHEMA_VERSION}. Nothing was written to it. Set budget.ledger to another file."
        )


def _sum(connection: sqlite3.Connection, month: str) -> int:
    query = "SELECT coalesce(sum(usd_1e9), 0) FROM requests WHERE month = ? AND state != ?"
    return int(connection.execute(query, (month, RELEASED)).fetchone()[0])


def _insert(
    connection: sqlite3.Connection, request: DataRequest, price: Price, month: str, now_ns: int
) -> int:
    values = (
        *(month, now_ns, RESERVED, request.kind, request.dataset, request.schema),
        *(request.stype_in, ",".join(request.symbols), request.start_ns, request.end_ns),
        *(price.size_bytes, price.usd_1e9),
    )
    number = connection.execute(
        "INSERT INTO requests (month, reserved_ns, state, kind, dataset, schema, stype_in,"
        " symbols, start_ns, end_ns, size_bytes, usd_1e9) VALUES (?,?,?,?,?,?,?,?,?,?,?,?)",
        values,
    ).lastrowid
    shares = [(number, *share) for share in price.by_symbol_1e9]
    connection.executemany("INSERT INTO shares VALUES (?,?,?)", shares)
    if number is None:
        raise AssertionError("an INSERT has a row id")
    return number


def _spent(row: tuple[object, ...], shares: tuple[tuple[str, int], ...]) -> Spent:
    number, reserved_ns, state, kind, dataset, schema, stype_in, symbols, *numbers = row
    start_ns, end_ns, size_bytes, usd_1e9 = (int(str(one)) for one in numbers)
    request = DataRequest(
        str(dataset),
        str(schema),
        tuple(str(symbols).split(",")),
        start_ns,
        end_ns,
        str(stype_in),
        "replay" if kind == "replay" else "historical",
    )
    price = Price(usd_1e9, size_bytes, shares)
    return Spent(int(str(number)), int(str(reserved_ns)), state == RESERVED, request, price)


def _refusal(request: DataRequest, price: Price, month: str, left_1e9: int) -> str:
    return (
        f"{request} costs {price}, of {month}'s budget {shown_usd(max(left_1e9, 0))} is left:"
        " not sent. Ask for less (`ifd cost` shows what could be saved), wait for next month, or"
        " raise budget.limit_usd or lower budget.kept_usd."
    )
