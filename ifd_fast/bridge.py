"""The three functions that tie windows, scores and receivers together."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from ifd_fast.config import load_settings
from ifd_fast.detection import IFDv3Engine
from ifd_fast.distribution import LiveStreamingConfig, SignalDistributor
from ifd_fast.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from ifd_fast.metrics import PressureMetrics
    from ifd_fast.signals import InstitutionalSignalV3
    from ifd_fast.streaming import MBOStreamingClient

__all__ = [
    "connect_mbo_to_ifd",
    "handle_institutional_signal",
    "run_ifd_v3_analysis",
    "shared_distributor",
]

_CONFIG_KEYS = ("profile", "baselines")


def handle_institutional_signal(
    signal: InstitutionalSignalV3, distributor: SignalDistributor | None = None
) -> bool:
    """Pass one signal on to dashboards and alert handlers; return whether it was.

    Without a distributor it goes to `shared_distributor()`, which callers add receivers to.
    """
    return (distributor or shared_distributor()).distribute_signal(signal)


@cache
def shared_distributor() -> SignalDistributor:
    """Return the process's one distributor, made with the limits of the settings in force."""
    return SignalDistributor(LiveStreamingConfig(load_settings().profile))


def connect_mbo_to_ifd(
    mbo_client: MBOStreamingClient,
    ifd_engine: IFDv3Engine,
    on_signal: Callable[[InstitutionalSignalV3], object] | SignalDistributor | None = None,
) -> SignalDistributor | None:
    """Have `ifd_engine` judge each window of `mbo_client`.

    Signals go to `on_signal`: a function, or a distributor; None makes a distributor of the
    engine's profile, which is returned. A callback that is set on the client is replaced.
    """
    distributor: SignalDistributor | None = None
    if on_signal is None:
        distributor = SignalDistributor(LiveStreamingConfig(ifd_engine.settings.profile))
    elif isinstance(on_signal, SignalDistributor):
        distributor = on_signal

    def on_pressure_metrics(metrics: PressureMetrics) -> None:
        signal = ifd_engine.analyze_pressure_event(metrics)
        if signal is None:
            return
        if distributor is not None:
            handle_institutional_signal(signal, distributor)
        elif callable(on_signal):
            on_signal(signal)

    mbo_client.on_pressure_metrics = on_pressure_metrics
    return distributor


def run_ifd_v3_analysis(
    pressure_metrics: Iterable[PressureMetrics], config: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Judge a batch of windows; return {"signals": [...], "summary": {...}}.

    `config` may name `profile` and `baselines` (a store's path). Signals are dictionaries ready
    for JSON, the most confident first. Raises UsageError for an unknown key.
    """
    settings = dict(config or {})
    unknown = sorted(set(settings) - set(_CONFIG_KEYS))
    if unknown:
        raise UsageError(
            f"`config` must have no other keys than {', '.join(_CONFIG_KEYS)}, had {unknown[0]!r}."
        )
    engine = IFDv3Engine(settings.get("profile"), settings.get("baselines"))
    analyzed, signals = 0, []
    for metrics in pressure_metrics:
        analyzed += 1
        signal = engine.analyze_pressure_event(metrics)
        if signal is not None:
            signals.append(signal)
    signals.sort(key=lambda one: (-one.final_confidence, one.timestamp, one.instrument_id))
    return {
        "signals": [signal.to_dict() for signal in signals],
        "summary": {
            "windows_analyzed": analyzed,
            "candidates": len(signals),
            "alerts": sum(signal.alert for signal in signals),
            "buy": sum(signal.dominant_side == "BUY" for signal in signals),
            "sell": sum(signal.dominant_side == "SELL" for signal in signals),
            "has_history": engine.history is not None,
            "config_digest": engine.settings.digest,
        },
    }
