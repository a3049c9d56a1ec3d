"""Compiled kernels: arrays in, arrays out; no allocation, no clock, no I/O, no exception."""

from __future__ import annotations

__all__: list[str] = []
