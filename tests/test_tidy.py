"""One pass over every file that git tracks: each ban names what to write instead.

Goal: what a reviewer would say about form is said here, at once and always. Tidy is tested itself:
`check_text` is given bad files and must refuse each one by its rule.
"""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import NamedTuple

import pytest

from tests.conftest import ROOT

LINE_COLUMNS = 100
FILE_LINES = 400
FUNCTION_LINES = 60
KERNEL_LINES = 70

PROSE = {".md", ".toml", ".txt", ".yml", ".yaml", ".ini", ".sql", ".html", ".css", ".js"}
CODE = {".py", ".sh"}
GENERATED = {".lock", ".json", ".svg", ".csv", ".tsv"}  # made by commands, checked by their tests
UNLIMITED = {"LICENSE", "CHANGELOG.md", "BENCHMARKS.md"}  # their length is not ours to choose
THIS_FILE = "tests/test_tidy.py"  # names everything that it bans

# pattern -> what to do instead. Joined words keep this table from finding itself elsewhere.
BANNED = {
    r"\b(TODO|FIXME|XXX|HACK)\b(?! \(#\d+\))": "file an issue and write TODO (#number), or do it",
    r"\bfor now\b": "say until when, or what would have to change",
    r"(?<![\w.])/(work|root|opt/venv|home/\w+)/": "a path relative to the project, or a setting",
    r"(?<![\w.])/tmp/": "tempfile, or pytest's tmp_path",
    r"^\s*except\s*:": "except with the errors that are expected",
    r"#\s*type:\s*ignore(?!\[)": "type: ignore[code] and the reason after it",
    r"#\s*type:\s*ignore\[[\w, -]+\]\s*$": "a reason after type: ignore[code]",
    r"#\s*noqa(?!: ?[A-Z]+\d+)": "noqa: CODE, or mend it",
    r"^\s*from\s+\S+\s+import\s+\*": "the names that are used",
    r"\bgot\b": "'was': `x` must be ..., was ...",
    r"[\x00-\x08\x0b-\x1f\x7f]": "text without control characters",
}
LIBRARY_BANNED = {
    r"(?<![\w.])print\(": "click.echo in a command, structlog elsewhere",
    r"\bos\.environ\b": "a setting in ifd_fast/config.py, which alone reads the environment",
}
MAY_READ_ENVIRONMENT = {"ifd_fast/config.py", "kernels/ifd_kernels/_jit.py"}
BANNED_STEMS = {
    "common": "the noun of what it holds",
    "core": "the noun of what it holds",
    "helper": "the noun of what it helps with",
    "helpers": "the noun of what they help with",
    "manager": "the noun of what is managed",
    "misc": "one module a subject",
    "util": "the noun of what it works on",
    "utils": "the noun of what they work on",
}


class Fault(NamedTuple):
    """One thing to mend."""

    path: str
    line: int
    message: str

    def __str__(self) -> str:
        """Return it as editors read it."""
        return f"{self.path}:{self.line}: {self.message}"


def tracked_files() -> list[str]:
    """Return the paths of all tracked files that still exist."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return [path for path in listed.stdout.split("\0") if path and (ROOT / path).is_file()]


def is_shipped(path: str) -> bool:
    """Say whether the file belongs to the library."""
    return path.startswith(("ifd_fast/", "kernels/"))


def check_lines(path: str, lines: list[str]) -> Iterator[Fault]:
    """Yield what single lines do wrong."""
    bans = dict(BANNED)
    if is_shipped(path) and path.endswith(".py"):
        bans |= LIBRARY_BANNED
    if path in MAY_READ_ENVIRONMENT:
        bans.pop(r"\bos\.environ\b")
    for number, line in enumerate(lines, 1):
        if line != line.rstrip():
            yield Fault(path, number, "spaces at the end of the line; remove them")
        is_long = len(line) > LINE_COLUMNS and not path.endswith(".md")
        if is_long and "://" not in line and "description =" not in line:
            yield Fault(path, number, f"{len(line)} columns; the limit is {LINE_COLUMNS}")
        if path == THIS_FILE:
            continue
        for pattern, instead in bans.items():
            found = re.search(pattern, line)
            if found:
                yield Fault(path, number, f"{found[0].strip()!r} is banned; use {instead}")


def check_python(path: str, text: str) -> Iterator[Fault]:
    """Yield what the structure of a Python file does wrong."""
    tree = ast.parse(text)
    if tree.body and "from __future__ import annotations" not in text:
        yield Fault(path, 1, "add `from __future__ import annotations`")
    limit = KERNEL_LINES if path.startswith("kernels/") else FUNCTION_LINES
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        first = node.body[0]
        has_docstring = ast.get_docstring(node, clean=False) is not None
        start = (first.end_lineno or 0) if has_docstring else node.lineno
        length = (node.end_lineno or 0) - start
        if length > limit:
            message = f"{node.name} has {length} lines; split it, the limit is {limit}"
            yield Fault(path, node.lineno, message)


def check_markdown(path: str, lines: list[str]) -> Iterator[Fault]:
    """Yield a fault unless there is exactly one title."""
    in_code, titles = False, []
    for number, line in enumerate(lines, 1):
        if line.startswith("```"):
            in_code = not in_code
        elif line.startswith("# ") and not in_code:
            titles.append(number)
    if len(titles) != 1:
        place = titles[1] if titles else 1
        yield Fault(path, place, f"{len(titles)} titles (`# `); write exactly one")


def check_text(path: str, text: str) -> list[Fault]:
    """Return every fault of one file."""
    pure = PurePosixPath(path)
    faults: list[Fault] = []
    if pure.suffix == ".py" and pure.stem in BANNED_STEMS:
        faults.append(
            Fault(path, 1, f"module name {pure.stem!r} is banned; use {BANNED_STEMS[pure.stem]}")
        )
    if pure.suffix in GENERATED or pure.name == "LICENSE":
        return faults
    lines = text.split("\n")
    if text and not text.endswith("\n"):
        faults.append(Fault(path, len(lines), "end the file with a line break"))
    if len(lines) - 1 > FILE_LINES and pure.name not in UNLIMITED:
        message = f"{len(lines) - 1} lines; split it, the limit is {FILE_LINES}"
        faults.append(Fault(path, 1, message))
    faults += check_lines(path, lines)
    if pure.suffix == ".py":
        faults += check_python(path, text)
    if pure.suffix == ".md":
        faults += check_markdown(path, lines)
    return faults


def test_repository_is_tidy() -> None:
    """No tracked file breaks a rule of the house."""
    faults = []
    for path in tracked_files():
        content = (ROOT / path).read_bytes()
        if PurePosixPath(path).suffix not in PROSE | CODE | GENERATED and b"\0" in content:
            continue  # binary
        faults += check_text(path, content.decode())
    assert not faults, "\n" + "\n".join(map(str, faults))


FUTURE = "from __future__ import annotations\n"


@pytest.mark.parametrize(
    ("path", "text", "message"),
    [
        ("a.py", FUTURE + "x = 1 \n", "spaces at the end"),
        ("a.py", FUTURE + "x" * 101 + " = 1\n", "105 columns"),
        ("a.py", FUTURE + "x = 1", "line break"),
        ("a.py", "x = 1\n", "__future__"),
        ("a.py", FUTURE + "x = 1\n" * 400, "401 lines"),
        ("a.py", FUTURE + "def f():\n" + "    x = 1\n" * 61, "split it, the limit is 60"),
        ("kernels/a.py", FUTURE + "def f():\n" + "    x = 1\n" * 71, "the limit is 70"),
        ("a.py", FUTURE + "from os import *\n", "the names that are used"),
        ("a.py", FUTURE + "try:\n    x = 1\nexcept:\n    x = 2\n", "errors that are expected"),
        ("a.py", FUTURE + "x = 1  # TODO later\n", "file an issue"),
        ("a.py", FUTURE + "x = 1  # good enough for now\n", "say until when"),
        ("a.py", FUTURE + "x = f()  # type: ignore\n", "type: ignore[code]"),
        ("a.py", FUTURE + "x = f()  # type: ignore[misc]\n", "a reason after"),
        ("a.py", FUTURE + "x = f()  # noqa\n", "noqa: CODE"),
        ("a.py", FUTURE + "x = '/root/data'\n", "path relative"),
        ("a.py", FUTURE + "x = '/tmp/data'\n", "tempfile"),
        ("ifd_fast/a.py", FUTURE + "print(1)\n", "click.echo"),
        ("ifd_fast/a.py", FUTURE + "x = os.environ['A']\n", "config.py"),
        ("ifd_fast/utils.py", FUTURE, "module name 'utils'"),
        ("a.md", "# One\n\n# Two\n", "2 titles"),
        ("a.md", "One\n", "0 titles"),
        ("a.toml", "x = 1\t\n", "spaces at the end"),
        ("a.toml", "x = '\x07'\n", "control characters"),
    ],
)
def test_tidy_refuses(path: str, text: str, message: str) -> None:
    """Each rule finds a file that breaks it, and says what to do."""
    actual = "\n".join(map(str, check_text(path, text)))
    assert message in actual


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("a.py", FUTURE + "x = 1  # TODO (#12): as soon as the feed has it\n"),
        ("a.py", FUTURE + 'def f():\n    """Doc.\n' + "\n" * 80 + '    """\n    return 1\n'),
        ("kernels/a.py", FUTURE + "def f():\n" + "    x = 1\n" * 65),
        ("bench/a.py", FUTURE + "print(1)\n"),
        ("a.py", ""),
        ("a.md", "# One\n\n```\n# a comment\n```\n"),
        ("a.json", "x" * 500),
    ],
)
def test_tidy_accepts(path: str, text: str) -> None:
    """What the rules allow passes."""
    assert check_text(path, text) == []
