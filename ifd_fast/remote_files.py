"""Files of object stores and web servers, brought to this machine once, through fsspec.

`CACHE/KEY/NAME` is the copy of a file of the folder that KEY stands for, the name as it is there,
so that a batch folder stays one. `.NAME.json` beside it says what the store said of the file: while
that is the same, the copy is; what was brought half has another name and counts for nothing.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import msgspec

from ifd_fast.credentials import redact_text
from ifd_fast.errors import DataError, IfdError, UsageError

__all__ = ["RemoteFile", "Store", "is_url", "shown_url"]

# What stores say of a file that changes with its content.
_MARKS: Final = (
    *("size", "ETag", "LastModified", "Last-Modified", "Content-MD5", "last_modified", "mtime"),
    *("etag", "md5Hash", "generation", "created"),
)
_PIECE_BYTES: Final = 1 << 22
_WEB: Final = frozenset({"http", "https"})


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file in a store: its path there, folder and name of it, and what the store says of it."""

    path: str
    folder: str
    name: str
    info: dict[str, Any]


def is_url(source: str) -> bool:
    """Return whether a source lies in a store and not in this machine's file system."""
    scheme, separator, _ = source.partition("://")
    return bool(separator) and scheme.isidentifier() and scheme != "file"


def shown_url(url: str) -> str:
    """Return a URL without what may be secret: user, password, query, fragment."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


class Store:
    """The store of one source, listed when it is asked for.

    Parameters
    ----------
    url
        As in `s3://bucket/folder`; a folder, a file, or with `*` any of both. On a web server a
        folder ends with `/`.
    cache
        Folder for copies.

    Raises
    ------
    UsageError
        The store's kind is unknown, or the library for it isn't installed.
    """

    def __init__(self, url: str, cache: Path) -> None:
        import fsspec

        self.url, self.shown, self._cache = url, shown_url(url), cache
        try:
            self._system, self._path = fsspec.core.url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise UsageError(
                f"{self.shown}: can't be reached ({error}). Name a file or folder, or a URL that "
                "fsspec reads: s3:// needs `pip install 'ifd-fast[s3]'`, gs:// 'ifd-fast[gs]'."
            ) from None
        self._scheme = urlsplit(url).scheme
        self._system.invalidate_cache()  # what another source of this process has listed

    @property
    def is_folder(self) -> bool:
        """Whether all below the source is meant."""
        if "*" in self._path:
            return False
        if self._scheme in _WEB:
            return urlsplit(self.url).path.endswith("/")
        return bool(self._asked(partial(self._system.isdir, self._path)))

    def files(self) -> list[RemoteFile]:
        """Return the files that the source names, by path.

        Raises
        ------
        DataError
            There are none, or the store refuses.
        """
        if "*" in self._path:
            found = self._asked(partial(self._system.glob, self._path, detail=True))
        elif self.is_folder:
            found = self._asked(partial(self._system.find, self._path, detail=True))
        else:
            found = {self._path: self._asked(partial(self._system.info, self._path))}
        # a page may link to anywhere, and a name is to be one of a file here
        base = "" if "*" in self._path else self._path
        files = [
            _file_at(path, info)
            for path, info in sorted(found.items())
            if info["type"] == "file" and path.startswith(base)
        ]
        if not all(one.name.strip(".") for one in files) or not files:
            raise DataError(f"{self.shown}: no such file or folder. Check the URL.")
        return files

    def beside(self, folder: str, names: tuple[str, ...]) -> list[RemoteFile]:
        """Return which of the files `names` there are in a folder of the store."""
        if urlsplit(self.url).query:  # a signed URL is good for one file
            return []
        paths = [f"{folder}/{name}" for name in names]
        return [
            _file_at(path, self._asked(partial(self._system.info, path)))
            for path in paths
            if self._asked(partial(self._system.exists, path))
        ]

    def shown_of(self, one: RemoteFile) -> str:
        """Return what messages call a file."""
        if self._scheme in _WEB:
            return shown_url(f"{one.folder}/{one.name}")
        return f"{self._scheme}://{one.folder.lstrip('/')}/{one.name}"

    def copy_folder(self, folder: str) -> Path:
        """Return where copies of the files of a store's folder lie."""
        key = hashlib.sha256(f"{self._scheme} {shown_url(folder)}".encode()).hexdigest()[:16]
        return self._cache / key

    def bring(self, one: RemoteFile) -> Path:
        """Return a file's copy, brought unless it is here as the store has it now.

        Raises
        ------
        DataError
            The store refuses, or less came than it says the file has.
        IfdError
            The disk is full or can't be written.
        """
        copy = self.copy_folder(one.folder) / one.name
        marks = self._marks_of(one)
        if copy.is_file() and _read_marks(copy) == marks:
            return copy
        part = copy.with_name(f".{one.name}.{os.getpid()}.part")
        try:
            copy.parent.mkdir(parents=True, exist_ok=True)
            _note_of(copy).unlink(missing_ok=True)
            self._receive(one, part)
            part.replace(copy)
            _note_of(copy).write_bytes(msgspec.json.encode(marks))
        except OSError as error:
            raise IfdError(
                f"{copy}: can't be written: {error.strerror or error}. Free some of the disk, or "
                "name another folder for copies."
            ) from None
        finally:
            part.unlink(missing_ok=True)
        return copy

    def _receive(self, one: RemoteFile, part: Path) -> None:
        """Write what the store has to `part`, on the disk when it returns."""
        block = 0 if self._scheme in _WEB else _PIECE_BYTES  # 0: one answer, whatever its length
        with part.open("wb") as file:
            opened = self._asked(partial(self._system.open, one.path, "rb", block_size=block))
            try:
                while piece := self._asked(partial(opened.read, _PIECE_BYTES)):
                    file.write(piece)
            finally:
                opened.close()
            file.flush()
            os.fsync(file.fileno())
            came = file.tell()
        size = self._info_of(one).get("size")
        if size is not None and size != came:
            raise DataError(f"{self.shown_of(one)}: {came:,} bytes came, the store says {size:,}.")

    def _info_of(self, one: RemoteFile) -> dict[str, Any]:
        """Return what the store says of a file; a list of links says nothing."""
        if one.info.get("size") is None:
            one.info.update(self._asked(partial(self._system.info, one.path)))
        return one.info

    def _marks_of(self, one: RemoteFile) -> dict[str, str]:
        info = self._info_of(one)
        return {name: str(info[name]) for name in _MARKS if info.get(name) is not None}

    def _asked(self, question: Callable[[], Any]) -> Any:
        """Return the store's answer; whatever its library raises becomes a DataError."""
        try:
            return question()
        except FileNotFoundError:
            reason = "no such file or folder. Check the URL."
        except Exception as error:  # noqa: BLE001 - each store's library has errors of its own
            reason = f"can't be had ({type(error).__name__}: {self._plain(str(error))})."
        raise DataError(f"{self.shown}: {reason}")

    def _plain(self, text: str) -> str:
        """Return a library's text, short, without what the source's URL may hold of secrets."""
        parts = urlsplit(self.url)
        for secret in (parts.query, parts.netloc.rpartition("@")[0], parts.password):
            text = text.replace(secret, "[secret]") if secret else text
        return " ".join(redact_text(text).split())[:300]


def _file_at(path: str, info: dict[str, Any]) -> RemoteFile:
    plain = path.partition("?")[0] if "://" in path else path
    folder, _, name = plain.rpartition("/")
    return RemoteFile(path, folder, name, info)


def _note_of(copy: Path) -> Path:
    return copy.with_name(f".{copy.name}.json")


def _read_marks(copy: Path) -> dict[str, str] | None:
    """Return what the store said of a file when its copy was made, None if that isn't known."""
    try:
        marks: dict[str, str] = msgspec.json.decode(_note_of(copy).read_bytes())
    except (OSError, msgspec.DecodeError):
        return None
    size = marks.get("size")
    return marks if size is None or int(size) == copy.stat().st_size else None
