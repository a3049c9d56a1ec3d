"""How one-sided ordinary flow is by chance: mean |net| by expected trades, horizon and size row.

Measured once a world, on null sessions of its own generator, and kept by the world's digest; that
of the packaged world is packaged with it. It is of what orders ask for: the tape shows 2 to 7 %
less, for prints without a side and orders that found too few contracts.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import math
from importlib import resources
from typing import Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from ifd_fast.activity import Activity
from ifd_fast.arrivals import draw_flow, season_of
from ifd_fast.calendar import load_sessions
from ifd_fast.errors import ConfigError
from ifd_fast.optionchain import list_world
from ifd_fast.quantiles import world_tables
from ifd_fast.world import Arrivals, World
from ifd_kernels import market_state as ms
from ifd_kernels.layout import SECOND_NS, SIDE_BID

__all__ = ["UsualNet", "encode_usual", "flow_digest", "measure_usual", "usual_net"]

SESSIONS: Final = 40  # fewer where so many trades come in fewer
SESSIONS_MIN: Final = 5
TRADES_ENOUGH: Final = 5_000_000
FIRST_DAY: Final = dt.date(2025, 1, 6)
SEED: Final = 0x0E7
BINS_AN_OCTAVE: Final = 2
CELLS_MIN: Final = 2_000  # a bin of fewer cells is not believed
SIZE_ROWS: Final = 3
PACKAGED: Final = "evaluation.usual.json"


class UsualNet(NamedTuple):
    """Mean |net| on a grid: `log_mu[h, r]` and `log_net[h, r]` by horizon and size row."""

    durations_s: tuple[float, ...]
    log_mu: tuple[tuple[NDArray[np.float64], ...], ...]
    log_net: tuple[tuple[NDArray[np.float64], ...], ...]
    sizes: tuple[float, ...]  # mean by size row
    log_rate: NDArray[np.float64]  # of the bins of `votes`
    votes: NDArray[np.float64]  # seconds with a buy + seconds with a sell, a trade

    def mean_size(self, row: int) -> float:
        """Return the mean contracts of a trade of size row `row`."""
        return self.sizes[row]

    def votes_a_trade(self, trades_hour: float) -> float:
        """Return how many votes of one contract a second a trade gives in regular trading."""
        return float(np.interp(math.log(trades_hour), self.log_rate, self.votes))

    def mean_abs_net(self, duration_s: float, row: int, trades: float) -> float:
        """Return the mean |net|, contracts, where `trades` are expected in `duration_s`.

        `row` is that of the sizes; between horizons and between bins straight in logarithms.
        Below the first bin it falls in step with the expected trades.
        """
        points = [
            self._at(place, row, math.log(max(trades, 1e-12)))
            for place in range(len(self.durations_s))
        ]
        logs = [math.log(duration) for duration in self.durations_s]
        return math.exp(float(np.interp(math.log(duration_s), logs, points)))

    def _at(self, place: int, row: int, log_mu: float) -> float:
        known, net = self.log_mu[place][row], self.log_net[place][row]
        if log_mu < known[0]:
            return float(net[0] + log_mu - known[0])
        if log_mu > known[-1]:
            return float(net[-1] + (log_mu - known[-1]) / 2)
        return float(np.interp(log_mu, known, net))


_KNOWN: Final[dict[str, UsualNet]] = {}


def usual_net(world: World) -> UsualNet:
    """Return the table of `world`, measured at the first call: some two seconds."""
    digest = flow_digest(world)
    if digest not in _KNOWN:
        _KNOWN[digest] = _packaged(digest) or measure_usual(world)
    return _KNOWN[digest]


def flow_digest(world: World) -> str:
    """Return the SHA-256 of what usual flow depends on: not the level or length of a day."""
    arrivals = world.arrivals
    if arrivals is not None:
        arrivals = msgspec.structs.replace(arrivals, level=1.0, session_s=82_800.0)
    durations = world.labels.durations_s if world.labels else ()
    whole = (world.chain, world.flow, arrivals, world.packages, durations)
    return hashlib.sha256(msgspec.json.encode(whole)).hexdigest()


def encode_usual(digest: str, usual: UsualNet) -> bytes:
    """Return the table of the worlds of that digest as JSON."""
    plain = {name: _plain(value) for name, value in usual._asdict().items()}
    return msgspec.json.format(msgspec.json.encode({"flow_digest": digest, **plain})) + b"\n"


def _plain(value: object) -> object:
    if isinstance(value, np.ndarray):
        return [float(f"{one:.9g}") for one in value.tolist()]
    return [_plain(one) for one in value] if isinstance(value, tuple) else value


def _packaged(digest: str) -> UsualNet | None:
    """Return the packaged table, if it is that of the world of `digest`."""
    held = msgspec.json.decode((resources.files("ifd_fast") / "presets" / PACKAGED).read_bytes())
    if held["flow_digest"] != digest:
        return None

    def grid(name: str) -> tuple[tuple[NDArray[np.float64], ...], ...]:
        return tuple(tuple(np.array(row) for row in rows) for rows in held[name])

    return UsualNet(
        tuple(held["durations_s"]),
        grid("log_mu"),
        grid("log_net"),
        tuple(held["sizes"]),
        np.array(held["log_rate"]),
        np.array(held["votes"]),
    )


def measure_usual(world: World) -> UsualNet:
    """Return the table of `world` from null sessions of its flow."""
    if world.arrivals is None or world.labels is None:
        raise ConfigError(f"`arrivals` and `labels` are missing in world {world.name!r}.")
    durations = world.labels.durations_s
    sessions = [item for item in load_sessions() if item.trade_date >= FIRST_DAY]
    full = max(item.close_ns - item.open_ns for item in sessions)
    arrivals = msgspec.structs.replace(world.arrivals, level=1.0)
    world = msgspec.structs.replace(world, arrivals=arrivals)
    tables = world_tables(world)
    activity = Activity(world, list_world(world, sessions[0].trade_date))
    season = season_of(arrivals, 0, full)
    trades_day = math.fsum(activity.rates) * season.between(0, full)
    wanted = min(SESSIONS, max(SESSIONS_MIN, math.ceil(TRADES_ENOUGH / trades_day)))
    sessions = [item for item in sessions if item.close_ns - item.open_ns == full][:wanted]
    options = len(activity.chain)
    counts = [max(1, round(full / 1e9 / duration)) for duration in durations]
    sums = [np.zeros((options, count)) for count in counts]
    votes = np.zeros(options)
    for session in sessions:
        activity = Activity(world, list_world(world, session.trade_date))
        trades = draw_flow(world, activity, SEED + session.number, session, tables).trades
        signed = np.where(trades["side"] == SIDE_BID, trades["asked"], -trades["asked"])
        since = trades["ts_event_ns"] - session.open_ns
        for place, duration in enumerate(durations):
            part = np.minimum(since // round(duration * 1e9), counts[place] - 1)
            cell = trades["slot"].astype(np.int64) * counts[place] + part
            net = np.bincount(cell, weights=signed, minlength=options * counts[place])
            sums[place] += np.abs(net).reshape(options, counts[place])
        votes += _count_votes(arrivals, trades, session.open_ns, options)
    log_rate, ratio = _fit_votes(arrivals, activity, votes / len(sessions))
    fitted = [
        _fit(activity, season.shares(round(duration * 1e9), count), found, len(sessions))
        for duration, count, found in zip(durations, counts, sums, strict=True)
    ]
    return UsualNet(
        tuple(durations),
        tuple(tuple(mu for mu, _ in rows) for rows in fitted),
        tuple(tuple(net for _, net in rows) for rows in fitted),
        tuple(tables[ms.TABLE_LOTS : ms.TABLE_LOTS + SIZE_ROWS].mean(axis=1).tolist()),
        log_rate,
        ratio,
    )


def _count_votes(
    arrivals: Arrivals, trades: ms.Records, open_ns: int, slots: int
) -> NDArray[np.float64]:
    """Return, by slot, seconds with a buy plus seconds with a sell in regular trading."""
    since_s = (trades["ts_event_ns"] - open_ns) // SECOND_NS
    inside = (since_s >= arrivals.regular_start_s) & (since_s < arrivals.regular_end_s)
    side = trades["side"][inside] == SIDE_BID
    key = (trades["slot"][inside].astype(np.int64) * 100_000 + since_s[inside]) * 2 + side
    return np.bincount(np.unique(key) // 200_000, minlength=slots).astype(np.float64)


def _fit_votes(
    arrivals: Arrivals, activity: Activity, votes: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return (log of trades an hour, votes a trade) of bins of an octave of all options."""
    hours = (arrivals.regular_end_s - arrivals.regular_start_s) / 3600.0
    kinds = np.array([item.instrument_class in "CP" for item in activity.chain])
    rates, found = np.array(activity.rates)[kinds], votes[kinds] / hours
    bins = np.floor(np.log2(rates)).astype(np.int64)
    points = [
        (
            math.log(float(rates[bins == one].mean())),
            found[bins == one].sum() / rates[bins == one].sum(),
        )
        for one in np.unique(bins)
    ]
    return np.array([rate for rate, _ in points]), np.array([ratio for _, ratio in points])


def _fit(
    activity: Activity, hours: NDArray[np.float64], sums: NDArray[np.float64], sessions: int
) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Return (log of expected trades, log of mean |net|) of the bins of each size row."""
    kinds = np.array([item.instrument_class in "CP" for item in activity.chain])
    lots = np.array(activity.lots())
    mu = np.array(activity.rates)[:, None] * hours[None, :]
    rows = []
    for row in range(SIZE_ROWS):
        chosen = kinds & (lots == row)
        x, y = mu[chosen].ravel(), sums[chosen].ravel() / sessions
        found: list[tuple[float, float, float]] = []
        if len(x):
            bins = np.floor(np.log2(x) * BINS_AN_OCTAVE).astype(np.int64)
            for one in np.unique(bins):
                inside = bins == one
                mean = float(y[inside].mean())
                if int(inside.sum()) * sessions >= CELLS_MIN and mean > 0.0:
                    weight = math.sqrt(float(x[inside].sum()))
                    found.append((math.log(float(x[inside].mean())), math.log(mean), weight))
        rows.append(_smooth(*np.array(found or [(0.0, 0.0, 1.0)]).T))
    return rows


def _smooth(
    log_mu: NDArray[np.float64], log_net: NDArray[np.float64], weight: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the bins on a parabola: blocks are so rare that bins alone jump by a fifth."""
    powers = np.vander(log_mu, min(3, len(log_mu)))
    fitted, *_ = np.linalg.lstsq(powers * weight[:, None], log_net * weight, rcond=None)
    smooth: NDArray[np.float64] = powers @ fitted
    return log_mu, smooth
