"""Institutional-flow detection in options on CME futures, at compiled speed."""

from __future__ import annotations

__all__ = ["__version__"]

__version__ = "0.1.0"
