"""What residuals are worth: tables of ranks, the null line, the calibration's weights."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import erfc, log10, sqrt
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ifd_fast.calibration import FEATURES, Calibration, load_calibration
from ifd_kernels.signals import (
    BINS,
    CHANNELS,
    LIMITS,
    MAX_ACTIVITY,
    MAX_ANOMALY,
    MAX_COORDINATION,
    NODE_STEP,
    NODES,
    WINDOWS,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Ranking", "make_limits", "normal_ranks", "unknown_ranking"]

# Without history a residual's rank is that of a normal tail, which no flow has: fifteen null
# sessions had 32 rows at 6.5 decades of it and 3 at 9. Such ranks show, but nothing alerts.
UNKNOWN_ALPHA: Final = 5.2
UNKNOWN_BETA: Final = 0.465
UNKNOWN_GRAIN_SHARES: Final = (0.7, 0.8, 0.9)


@dataclass(frozen=True)
class Ranking:
    """Ranks (channels, windows, bins, nodes) in decades, and LIMITS (1,)."""

    ranks: NDArray[np.float64]
    limits: NDArray[Any]

    @property
    def ready(self) -> bool:
        """Whether history made it: only then can anything alert."""
        return bool(self.limits[0]["ready"] == 1.0)

    def describe(self, false_alerts_per_session: float) -> dict[str, Any]:
        """Return what session.json says of it."""
        row = self.limits[0]
        alpha, beta = float(row["alpha"]), float(row["beta"])
        return {
            "ready": self.ready,
            "sessions": float(row["sessions"]),
            "promised_false_alerts": false_alerts_per_session,
            "alpha": alpha,
            "beta": beta,
            "least_rank": (alpha - log10(false_alerts_per_session)) / beta,
        }


def make_limits(
    *,
    ready: bool,
    sessions: float,
    line: tuple[float, float],
    grain_shares: tuple[float, float, float] = UNKNOWN_GRAIN_SHARES,
    calibration: Calibration | None = None,
) -> NDArray[Any]:
    """Return LIMITS (1,) of a null line (alpha, beta) and a calibration (None: the package's)."""
    weights = calibration or load_calibration()
    limits = np.zeros(1, LIMITS)
    limits["ready"], limits["sessions"] = float(ready), sessions
    limits["alpha"], limits["beta"] = line
    limits["grain_shares"] = grain_shares
    for name in ("intercept", *FEATURES):
        limits[name] = getattr(weights, name)
    helped = weights.per_deviate * MAX_ANOMALY + weights.per_coordination * MAX_COORDINATION
    helped += weights.per_persistence + weights.per_activity * MAX_ACTIVITY
    decades = -(weights.intercept + helped) / weights.per_decade
    # a little lower, so that no rounding hides a candidate
    limits["least_rank"] = max((decades + line[0]) / line[1] - 1e-6, 0.25)
    return limits


@cache
def unknown_ranking() -> Ranking:
    """Return the ranking without any history: ready for nothing."""
    line = (UNKNOWN_ALPHA, UNKNOWN_BETA)
    return Ranking(normal_ranks(), make_limits(ready=False, sessions=0.0, line=line))


@cache
def normal_ranks() -> NDArray[np.float64]:
    """Return tables in which a residual's rank is that of a normal tail."""
    nodes = [-log10(0.5 * erfc(node * NODE_STEP / sqrt(2.0))) for node in range(NODES)]
    ranks = np.empty((CHANNELS, WINDOWS, BINS, NODES))
    ranks[:] = nodes
    return ranks
