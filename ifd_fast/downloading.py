"""Files of a batch job onto the disk: resumed where they broke off, checked, then renamed.

`NAME.part` grows as the bytes come; it is NAME only once its size and SHA-256 are those listed
and all of it is on the disk. So a file that has its name is whole, whatever was killed when.
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Final

from ifd_fast.errors import DataError, IfdError
from ifd_fast.recordings import digest_file

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from typing import BinaryIO

    from ifd_fast.batch_folders import ListedFile
    from ifd_fast.historical import HistoricalApi

__all__ = ["check_room", "download", "is_there", "part_of"]

_TRIES: Final = 5  # in a row without a byte
_COPIES: Final = 2  # whole ones, before a wrong checksum is believed
_LONGEST_PAUSE_S: Final = 30.0


def is_there(folder: Path, listed: ListedFile) -> bool:
    """Return whether a file has come; it was checked before it was given its name.

    Raises
    ------
    DataError
        There is one of that name with another size.
    """
    path = folder / listed.name
    if not path.exists():
        return False
    if (size := path.stat().st_size) != listed.size_bytes:
        raise DataError(
            f"{path}: has {size:,} bytes, the job lists {listed.size_bytes:,}: it was changed. "
            "Move it away, then --resume."
        )
    return True


def check_room(folder: Path, files: Sequence[ListedFile]) -> None:
    """Raise IfdError unless the disk has room for what is missing of `files`."""
    missing = sum(one.size_bytes - _size(part_of(folder, one)) for one in files)
    free = shutil.disk_usage(folder).free
    if missing > free:
        raise IfdError(
            f"{folder}: {missing / 1e9:,.3f} GB are to come, the disk has {free / 1e9:,.3f} GB "
            "free. Free some, then --resume: nothing is paid again."
        )


def download(
    api: HistoricalApi, listed: ListedFile, folder: Path, show: Callable[[int], object]
) -> None:
    """Bring one file; what is here of it isn't asked for again. `show` is told its bytes.

    Raises
    ------
    CredentialError, RequestError
        The key is refused, or five tries in a row brought nothing; what came stays.
    DataError
        Two whole copies had another checksum than the list says; neither stays.
    IfdError
        The disk is full or can't be written; what came stays.
    """
    part = part_of(folder, listed)
    for _ in range(_COPIES):
        _bring(api, listed, part, show)
        if digest_file(part) == listed.sha256:
            part.rename(folder / listed.name)
            _sync(folder)
            return
        part.unlink()
    raise DataError(
        f"{folder / listed.name}: came {_COPIES} times with another SHA-256 than the job lists "
        f"({listed.sha256[:12]}...). Nothing of it is kept. --resume tries again; if it stays so, "
        "the job is damaged: show it to Databento."
    )


def part_of(folder: Path, listed: ListedFile) -> Path:
    """Return where a file lies until it is whole."""
    return folder / f"{listed.name}.part"


def _bring(
    api: HistoricalApi, listed: ListedFile, part: Path, show: Callable[[int], object]
) -> None:
    """Fill `part` to the listed size, and have it on the disk."""
    try:
        with part.open("ab") as file:
            if file.tell() > listed.size_bytes:
                _empty(file)
            tries = 0
            while (size := file.tell()) < listed.size_bytes:
                failure = api.stream(listed.name, listed.url, size, _taker(file, listed, show))
                tries = 1 if file.tell() > size else tries + 1
                if failure is not None and (failure.pause_s is None or tries == _TRIES):
                    raise failure.error
                if tries == _TRIES:
                    raise DataError(f"{part}: ends at byte {size:,}, the list says more.")
                if failure is not None:
                    api.sleep(min(failure.pause_s * 2 ** (tries - 1), _LONGEST_PAUSE_S))
            os.fsync(file.fileno())
    except (OSError, _DiskError) as error:
        reason = getattr(error, "strerror", None) or error
        raise IfdError(
            f"{part}: can't be written: {reason}. What came stays; mend the "
            "disk or free some of it, then --resume: nothing is paid again."
        ) from None


def _taker(
    file: BinaryIO, listed: ListedFile, show: Callable[[int], object]
) -> Callable[[int, bytes], None]:
    """Return what puts pieces into their places, which follow each other."""

    def take(place: int, piece: bytes) -> None:
        if place == 0:
            _empty(file)  # the server begins anew, whatever was asked for
        if place + len(piece) > listed.size_bytes:
            raise DataError(
                f"{listed.name}: more than the {listed.size_bytes:,} bytes that the job lists "
                "came. It is another file: show it to Databento."
            )
        try:
            file.write(piece)
            file.flush()
        except OSError as error:
            raise _DiskError(error) from None
        show(place + len(piece))

    return take


def _empty(file: BinaryIO) -> None:
    file.truncate(0)
    file.seek(0)


class _DiskError(IfdError):
    """The disk refused a piece: it is no failure of the network, whose errors are OSErrors too."""

    def __init__(self, error: OSError) -> None:
        super().__init__(error.strerror or str(error))


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
