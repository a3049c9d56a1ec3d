"""The rules ours is compared with, from the same hand-overs and the same 20 sessions.

- `original`: the replaced system's confidence over five-minute windows, in `original_rule`.
- `zscore`: (|net| - mean) / sd of the strike's past windows of that hour; alert above 3.
- `mad`: the same with median and 1.4826 times the median absolute deviation.
- `net_root`: net / root of the sum of squared sizes, sizes by second and side; alert above 3.
- `volume_oi`: contracts since the open over open interest; alert from 10 and 500 contracts. No
  feed carries open interest: five sessions' usual volume stand in for it.

Spreads are at least one contract, because most are zero. History is by strike, type and class of
days to expiry, as in our own narrowest cell.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from ifd_fast.tapes import Rows, Tape, rolling

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["NOMINAL", "Past", "mad", "make_past", "net_root", "volume_oi", "window_nets", "zscore"]

# The threshold each rule is used at by those who use it.
NOMINAL: Final = {
    "original": 0.7,
    "zscore": 3.0,
    "mad": 3.0,
    "net_root": 3.0,
    "volume_oi": 10.0,
}
WINDOW_S: Final = 300
SECOND_NS: Final = 1_000_000_000
BINS: Final = 276
BINS_HOUR: Final = 12
MIN_SPREAD: Final = 1.0  # contract
MAD_TO_SD: Final = 1.4826
OI_SESSIONS: Final = 5.0
MIN_VOLUME: Final = 500


class Past(NamedTuple):
    """What past sessions say of a session's k options, by hour of the session (23)."""

    mean: NDArray[np.float64]  # (k, 23) of |net| over five-minute windows, silent ones too
    sd: NDArray[np.float64]
    median: NDArray[np.float64]
    mad: NDArray[np.float64]
    open_interest: NDArray[np.float64]  # (k,) contracts
    last_ratio: NDArray[np.float64]  # (s, k) ask / bid of each session's last window; NaN: none


def window_nets(tape: Tape) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return contracts that hit the bid and lifted the ask, (k, 276) each, by window."""
    window = (tape.second * SECOND_NS - tape.open_ns) // (WINDOW_S * SECOND_NS)
    place = tape.option * BINS + np.clip(window, 0, BINS - 1)
    size = len(tape.ids) * BINS
    sums = [
        np.bincount(place, weights=side, minlength=size).reshape(-1, BINS).astype(np.int64)
        for side in (tape.bid, tape.ask)
    ]
    return sums[0], sums[1]


def make_past(
    nets: NDArray[np.float64], volumes: NDArray[np.float64], last_ratio: NDArray[np.float64]
) -> Past:
    """Return what `nets` (s, k, 276), NaN where an option was not listed, say; `volumes` (s, k)."""
    sessions, options, _ = nets.shape
    hours = np.abs(nets).reshape(sessions, options, -1, BINS_HOUR)
    cube = np.moveaxis(hours, 0, 2).reshape(options, BINS // BINS_HOUR, -1)
    known = ~np.isnan(cube)
    filled = np.where(known, cube, 0.0)
    count = np.maximum(known.sum(axis=2), 1)
    mean = filled.sum(axis=2) / count
    square = np.where(known, (cube - mean[:, :, None]) ** 2, 0.0).sum(axis=2)
    middle = _median(cube)
    deviation = _median(np.abs(cube - middle[:, :, None]))
    usual = np.nansum(volumes, axis=0) / np.maximum((~np.isnan(volumes)).sum(axis=0), 1)
    return Past(
        mean,
        np.sqrt(square / np.maximum(count - 1, 1)),
        middle,
        deviation,
        np.maximum(OI_SESSIONS * usual, 1.0),
        last_ratio,
    )


def _median(cube: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the median over the last axis, 0 where nothing is known."""
    ranked = np.sort(cube, axis=2)  # NaN last
    count = (~np.isnan(cube)).sum(axis=2)
    low = np.maximum(count - 1, 0) // 2
    high = np.minimum(count // 2, cube.shape[2] - 1)
    pick = [np.take_along_axis(ranked, at[:, :, None], axis=2)[:, :, 0] for at in (low, high)]
    return np.where(count > 0, (pick[0] + pick[1]) / 2.0, 0.0)


def _hours(tape: Tape) -> NDArray[np.int64]:
    hour = (tape.instant_ns - tape.open_ns) // (WINDOW_S * BINS_HOUR * SECOND_NS)
    bounded: NDArray[np.int64] = np.clip(hour, 0, BINS // BINS_HOUR - 1)
    return bounded


def _signed(tape: Tape, net: NDArray[np.float64], score: NDArray[np.float64]) -> Rows:
    """Return the rows with any net flow, each for the side it leans to."""
    kept = (net != 0.0) & (score > 0.0)
    side = np.where(net > 0.0, 1, -1).astype(np.int8)
    return Rows(tape.option[kept], side[kept], tape.instant_ns[kept], score[kept])


def _net(tape: Tape) -> NDArray[np.float64]:
    return rolling(tape, (tape.ask - tape.bid).astype(np.float64), WINDOW_S)


def zscore(tape: Tape, past: Past) -> Rows:
    """Score |net| of 300 s by mean and standard deviation."""
    net, hour = _net(tape), _hours(tape)
    mean, sd = past.mean[tape.option, hour], past.sd[tape.option, hour]
    return _signed(tape, net, (np.abs(net) - mean) / np.maximum(sd, MIN_SPREAD))


def mad(tape: Tape, past: Past) -> Rows:
    """Score |net| of 300 s by median and median absolute deviation."""
    net, hour = _net(tape), _hours(tape)
    middle = past.median[tape.option, hour]
    spread = np.maximum(MAD_TO_SD * past.mad[tape.option, hour], MIN_SPREAD)
    return _signed(tape, net, (np.abs(net) - middle) / spread)


def net_root(tape: Tape, past: Past) -> Rows:
    """Score |net| of 300 s by the root of the sum of squared sizes; needs no history."""
    del past
    net = _net(tape)
    squares = rolling(tape, (tape.ask**2 + tape.bid**2).astype(np.float64), WINDOW_S)
    return _signed(tape, net, np.abs(net) / np.sqrt(np.maximum(squares, 1.0)))


def volume_oi(tape: Tape, past: Past) -> Rows:
    """Score the session's contracts so far by open interest; a call or a put is always bought."""
    volume = rolling(tape, (tape.ask + tape.bid).astype(np.float64), 86_400.0)
    score = volume / past.open_interest[tape.option]
    kept = volume >= MIN_VOLUME
    side = np.ones(int(kept.sum()), np.int8)
    return Rows(tape.option[kept], side, tape.instant_ns[kept], score[kept])
