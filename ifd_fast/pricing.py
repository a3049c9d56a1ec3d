"""What a request to Databento asks for, and what it costs before it is sent."""

from __future__ import annotations

import datetime as dt
import math
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from ifd_fast.errors import UsageError
from ifd_fast.profiles import nearest

if TYPE_CHECKING:
    from databento import Historical

    from ifd_fast.historical import HistoricalApi

__all__ = ["SCHEMAS", "DataRequest", "Price", "price", "shown_ns", "shown_usd"]

Kind: TypeAlias = Literal["historical", "replay"]

SYMBOLS_MAX: Final = 2000  # of one request, the API's limit
SCHEMAS: Final = frozenset(
    (
        *("mbo", "mbp-1", "mbp-10", "tbbo", "trades", "bbo-1s", "bbo-1m"),
        *("ohlcv-1s", "ohlcv-1m", "ohlcv-1h", "ohlcv-1d", "ohlcv-eod"),
        *("definition", "statistics", "status", "imbalance"),
        *("cmbp-1", "cbbo-1s", "cbbo-1m", "tcbbo"),
    )
)
STYPES: Final = frozenset({"raw_symbol", "instrument_id", "parent", "continuous"})
_COST_USD_MAX: Final = 1e6  # an answer beyond it is no price
_SIZE_BYTES_MAX: Final = 1 << 60
_DATASET: Final = re.compile(r"[A-Z0-9]{2,12}\.[A-Z0-9]{2,12}")
_SYMBOL: Final = re.compile(r"[^,\s|=]+( [^,\s|=]+)*")


@dataclass(frozen=True, slots=True)
class DataRequest:
    """Records of a dataset, [start_ns, end_ns) in ns UTC, as they can be bought.

    Raises
    ------
    UsageError
        If it couldn't be sent.
    """

    dataset: str
    schema: str
    symbols: tuple[str, ...]
    start_ns: int
    end_ns: int
    stype_in: str = "parent"
    kind: Kind = "historical"  # replay: a live session's records of earlier today

    def __post_init__(self) -> None:
        """Refuse what the API would refuse, before a question is spent on it."""
        if _DATASET.fullmatch(self.dataset) is None:
            raise UsageError(f"`dataset` must be one as in GLBX.MDP3, was {self.dataset!r}.")
        for name, value, known in (
            ("schema", self.schema, SCHEMAS),
            ("stype_in", self.stype_in, STYPES),
            ("kind", self.kind, {"historical", "replay"}),
        ):
            if value not in known:
                raise UsageError(f"`{name}` is unknown, was {value!r}. {nearest(value, known)}")
        if not 1 <= len(self.symbols) <= SYMBOLS_MAX:
            count = len(self.symbols)
            raise UsageError(f"`symbols` must be 1 to {SYMBOLS_MAX}, were {count}. Split it.")
        for symbol in self.symbols:
            if _SYMBOL.fullmatch(symbol) is None or not symbol.isprintable():
                raise UsageError(f"a symbol must be one as in NQ.OPT, was {symbol!r}.")
        if len(set(self.symbols)) != len(self.symbols):
            raise UsageError("`symbols` must differ: one that is there twice may be paid twice.")
        if not 0 <= self.start_ns < self.end_ns < 2**63:
            raise UsageError(
                f"`start_ns` must come before `end_ns`, were {self.start_ns} and {self.end_ns}."
            )

    def __str__(self) -> str:
        first, others = self.symbols[0], len(self.symbols) - 1
        symbols = f"{first} and {others} more" if others else first
        span = f"{shown_ns(self.start_ns)} to {shown_ns(self.end_ns)}"
        return f"{self.dataset} {self.schema} of {symbols}, {span}"

    @property
    def fields(self) -> dict[str, Any]:
        """What the client's methods take."""
        return {
            "dataset": self.dataset,
            "schema": self.schema,
            "symbols": list(self.symbols),
            "stype_in": self.stype_in,
            "start": self.start_ns,
            "end": self.end_ns,
        }


@dataclass(frozen=True, slots=True)
class Price:
    """What a request costs: US dollars at 1e-9, bytes before compression.

    `by_symbol_1e9` has each symbol's own price if it was asked for; their sum need not be the
    whole's.
    """

    usd_1e9: int
    size_bytes: int
    by_symbol_1e9: tuple[tuple[str, int], ...] = ()

    def __str__(self) -> str:
        return f"{shown_usd(self.usd_1e9)} for {self.size_bytes / 1e9:.3f} GB"


def price(api: HistoricalApi, request: DataRequest, *, by_symbol: bool = False) -> Price:
    """Ask what a request costs; asking is free.

    Parameters
    ----------
    by_symbol
        Ask for each symbol alone as well, one question more for each.

    Raises
    ------
    CredentialError, RequestError
        See `HistoricalApi.ask`; also if the answer is no price.
    """
    what = f"price of {request}"
    cost = api.ask(what, lambda client: _ask_cost(client, request.fields))
    size = api.ask(what, lambda client: _ask_size(client, request.fields))
    if not by_symbol or len(request.symbols) == 1:
        alone = tuple((one, cost) for one in request.symbols) if len(request.symbols) == 1 else ()
        return Price(cost, size, alone)
    shares = []
    for symbol in request.symbols:
        fields = request.fields | {"symbols": [symbol]}
        shares.append((symbol, _ask_share(api, f"{what}, {symbol} alone", fields)))
    return Price(cost, size, tuple(shares))


def shown_usd(usd_1e9: int) -> str:
    """Return dollars and cents; what is less than half a cent, but not nothing, is said so."""
    if 0 < usd_1e9 < 5_000_000:
        return "under $0.01"
    return f"${usd_1e9 / 1e9:,.2f}"


def shown_ns(ts_ns: int) -> str:
    """Return a time in UTC to the second, a midnight as its date alone."""
    moment = dt.datetime.fromtimestamp(ts_ns // 1_000_000_000, tz=dt.UTC)
    day = moment.strftime("%Y-%m-%d")
    return day if ts_ns % 86_400_000_000_000 == 0 else f"{day} {moment:%H:%M:%S} UTC"


def _ask_share(api: HistoricalApi, what: str, fields: dict[str, Any]) -> int:
    return api.ask(what, lambda client: _ask_cost(client, fields))


def _ask_cost(client: Historical, fields: dict[str, Any]) -> int:
    """Return the cost in dollars at 1e-9, rounded up; JSON may hold anything, so it is checked."""
    cost: object = client.metadata.get_cost(**fields)
    if isinstance(cost, bool) or not isinstance(cost, (int, float)) or not math.isfinite(cost):
        raise TypeError(f"a cost must be a number, was {cost!r}")
    if not 0 <= cost <= _COST_USD_MAX:
        raise ValueError(f"a cost must be within 0 to {_COST_USD_MAX:g} USD, was {cost!r}")
    return math.ceil(Decimal(repr(cost)) * 1_000_000_000)


def _ask_size(client: Historical, fields: dict[str, Any]) -> int:
    size: object = client.metadata.get_billable_size(**fields)
    if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= _SIZE_BYTES_MAX:
        raise TypeError(f"a size must be a whole number of bytes, was {size!r}")
    return size
