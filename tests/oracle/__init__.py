"""What each kernel means, in plain Python, written from the rules."""

from __future__ import annotations
