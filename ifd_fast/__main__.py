"""`python -m ifd_fast` is `ifd`."""

from __future__ import annotations

from ifd_fast.cli import main

__all__: list[str] = []

if __name__ == "__main__":
    main()
