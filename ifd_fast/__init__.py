"""Institutional-flow detection in options on CME futures, at compiled speed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ifd_fast.bridge import (
        connect_mbo_to_ifd,
        handle_institutional_signal,
        run_ifd_v3_analysis,
    )
    from ifd_fast.collecting import ReplayResult
    from ifd_fast.detection import IFDv3Engine
    from ifd_fast.distribution import LiveStreamingConfig, SignalDistributor
    from ifd_fast.metrics import PressureMetrics
    from ifd_fast.replaying import replay
    from ifd_fast.signals import InstitutionalSignalV3
    from ifd_fast.streaming import MBOStreamingClient

__all__ = [
    "IFDv3Engine",
    "InstitutionalSignalV3",
    "LiveStreamingConfig",
    "MBOStreamingClient",
    "PressureMetrics",
    "ReplayResult",
    "SignalDistributor",
    "__version__",
    "connect_mbo_to_ifd",
    "handle_institutional_signal",
    "replay",
    "run_ifd_v3_analysis",
]

__version__ = "0.1.0"

_HOMES = {
    "IFDv3Engine": "detection",
    "InstitutionalSignalV3": "signals",
    "LiveStreamingConfig": "distribution",
    "MBOStreamingClient": "streaming",
    "PressureMetrics": "metrics",
    "ReplayResult": "collecting",
    "SignalDistributor": "distribution",
    "connect_mbo_to_ifd": "bridge",
    "handle_institutional_signal": "bridge",
    "replay": "replaying",
    "run_ifd_v3_analysis": "bridge",
}


def __getattr__(name: str) -> object:
    """Import a public name on first use: `import ifd_fast` alone stays quick."""
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(f"ifd_fast.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'ifd_fast' has no attribute {name!r}")


def __dir__() -> list[str]:
    """Return the public names."""
    return __all__
