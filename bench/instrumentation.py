"""Switch callgrind's instrumentation on from inside the process that it watches.

Start-up (the interpreter, numpy, numba: a hundred million instructions that nobody counts) took
three minutes with cache simulation on and takes seconds without. valgrind offers a switch, but as
a C macro: a sequence of instructions that does nothing on a CPU and is a request under valgrind.
The same sequence is written here as bytes, so that neither a compiler nor a plugin is needed.
"""

from __future__ import annotations

import ctypes
import mmap
import platform
from typing import Final

__all__ = ["start_instrumentation"]

# The tool's letters and the number of the request, from valgrind's callgrind.h.
_START_INSTRUMENTATION: Final = (ord("C") << 24 | ord("T") << 16) + 4
_REQUEST: Final = bytes.fromhex(
    "4889f8"  # mov rax, rdi: the address of the request's six words
    "31d2"  # xor edx, edx: the answer where there is no valgrind
    "48c1c703 48c1c70d 48c1c73d 48c1c733"  # rol rdi by 128 in all: nothing, but a mark
    "4887db"  # xchg rbx, rbx: nothing, but valgrind acts here
    "4889d0"  # mov rax, rdx: the answer
    "c3"  # ret
)


def start_instrumentation() -> None:
    """Count from here on; does nothing outside valgrind."""
    if platform.machine() != "x86_64":
        raise SystemExit(f"the count gate runs on x86_64 only, was {platform.machine()}")
    with mmap.mmap(
        -1, len(_REQUEST), prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
    ) as code:
        code.write(_REQUEST)
        view = ctypes.c_char.from_buffer(code)
        signature = ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.POINTER(ctypes.c_uint64))
        request = signature(ctypes.addressof(view))
        words = (ctypes.c_uint64 * 6)(_START_INSTRUMENTATION)
        request(words)
        del view
