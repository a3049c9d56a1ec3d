"""One CPU, x86-64-v3, for compiled code that is counted and for every step of `./dev test`.

So a count is the same on every machine, and the steps share one cache of compiled kernels.
Run as a script it prints the variables for a shell.
"""

from __future__ import annotations

import platform
from typing import Final

__all__ = ["PINNED"]

_FEATURES: Final = (
    "+64bit,+avx,+avx2,+bmi,+bmi2,+cmov,+crc32,+cx16,+cx8,+f16c,+fma,+fxsr,+lzcnt,+mmx,+movbe,"
    "+popcnt,+sahf,+sse,+sse2,+sse3,+sse4.1,+sse4.2,+ssse3,+xsave"
)
PINNED: Final = (
    {"NUMBA_CPU_NAME": "x86-64-v3", "NUMBA_CPU_FEATURES": _FEATURES}
    if platform.machine() == "x86_64"
    else {}
)

if __name__ == "__main__":
    for name, value in PINNED.items():
        print(f"export {name}={value}")
