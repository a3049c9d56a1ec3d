"""Institutional-flow detection in options on CME futures, at compiled speed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ifd_fast.collecting import ReplayResult
    from ifd_fast.replaying import replay

__all__ = ["ReplayResult", "__version__", "replay"]

__version__ = "0.1.0"

_HOMES = {"ReplayResult": "ifd_fast.collecting", "replay": "ifd_fast.replaying"}


def __getattr__(name: str) -> object:
    """Import a public name on first use: `import ifd_fast` alone stays quick."""
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'ifd_fast' has no attribute {name!r}")
