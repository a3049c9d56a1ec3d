"""One module a command of `ifd`; imported only when that command runs."""

from __future__ import annotations
