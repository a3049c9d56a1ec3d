"""How many streams the tests against an oracle draw: IFD_STREAMS of them where it is set."""

from __future__ import annotations

import os
from typing import Any

from hypothesis import settings

__all__ = ["more_examples"]

EXAMPLES = int(os.environ.get("IFD_STREAMS", "0"))


def more_examples(test: Any) -> Any:
    """Draw IFD_STREAMS examples where it is set (2000 shows what the project promises)."""
    return settings(max_examples=EXAMPLES)(test) if EXAMPLES else test
