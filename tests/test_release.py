"""One version everywhere, a changelog that says it, locks that can be trusted, a clean wheel."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from datetime import date
from pathlib import Path

import pytest

import ifd_fast
from tests.conftest import ROOT

LOCKS = ("requirements.lock", "requirements-dev.lock")
SECTIONS = {"Added", "Changed", "Deprecated", "Fixed", "Removed", "Security"}


def project() -> dict[str, object]:
    """Return the [project] table of pyproject.toml."""
    table = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert isinstance(table, dict)
    return table


def test_version_is_one() -> None:
    """Both pyproject.toml and the package name the same version."""
    assert project()["version"] == ifd_fast.__version__


def releases() -> list[tuple[str, str]]:
    """Return (version, date) of each release in the changelog, newest first."""
    text = (ROOT / "CHANGELOG.md").read_text()
    return re.findall(r"^## \[?(\d+\.\d+\.\d+)\]? - (\S+)$", text, re.MULTILINE)


def test_changelog_has_what_is_unreleased_or_this_version() -> None:
    """The changelog opens with Unreleased or with the version that the package has."""
    headings = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    first = headings[0].strip("[]")
    assert first == "Unreleased" or releases()[0][0] == ifd_fast.__version__


def test_changelog_falls_in_version_and_date() -> None:
    """Releases stand newest first, with dates of the calendar."""
    versions = [tuple(map(int, version.split("."))) for version, _ in releases()]
    days = [date.fromisoformat(day) for _, day in releases()]
    assert versions == sorted(versions, reverse=True)
    assert days == sorted(days, reverse=True)


def test_changelog_sections_are_those_of_keep_a_changelog() -> None:
    """Below a version there are only the six known sections."""
    found = re.findall(r"^### (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert set(found) <= SECTIONS
    assert found


def locked(name: str) -> dict[str, tuple[str, list[str]]]:
    """Return (version, hashes) of each package in a lock file."""
    packages: dict[str, tuple[str, list[str]]] = {}
    current = ""
    for line in (ROOT / name).read_text().splitlines():
        if match := re.match(r"([a-z0-9._-]+)==(\S+?)(?: ; .*)? \\$", line):
            current = match[1]
            packages[current] = (match[2], [])
        elif match := re.match(r"    --hash=sha256:([0-9a-f]{64})(?: \\)?$", line):
            packages[current][1].append(match[1])
        else:
            assert line.startswith("#"), f"{name}: not a package, a hash or a comment: {line}"
    return packages


@pytest.mark.parametrize("name", LOCKS)
def test_locks_have_hashes_and_no_address(name: str) -> None:
    """Each locked package has a hash, and no line names an index or a host."""
    text = (ROOT / name).read_text()
    assert "://" not in text
    assert not re.search(r"^\s*(--index|--extra-index|--find-links|-[ief]\b)", text, re.MULTILINE)
    assert all(hashes for _, hashes in locked(name).values())


def direct_names(requirements: object) -> set[str]:
    """Return the normalised package names of a list of requirements."""
    assert isinstance(requirements, list)
    names = (re.split(r"[<>=!~ \[;]", requirement)[0] for requirement in requirements)
    return {name.lower().replace("_", "-") for name in names}


def test_locks_hold_what_the_project_asks_for() -> None:
    """Every direct dependency is locked, and both locks agree on each version."""
    runtime, dev = (locked(name) for name in LOCKS)
    extras = project()["optional-dependencies"]
    assert isinstance(extras, dict)
    assert direct_names(project()["dependencies"]) <= set(runtime)
    assert direct_names(extras["dev"]) <= set(dev)
    expected = {name: version for name, (version, _) in runtime.items()}
    actual = {name: version for name, (version, _) in dev.items() if name in runtime}
    assert actual == expected


@pytest.mark.slow
def test_wheel_holds_the_two_packages_and_imports_alone(tmp_path: Path) -> None:
    """A built wheel has only our packages and their data, and imports with the source out of sight.

    The wheel goes first on the path of an interpreter started elsewhere, without site hooks.
    """
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path)]
    subprocess.run([*build, str(ROOT)], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(tmp_path / "site")
    tops = {name.split("/")[0] for name in names}
    assert {name for name in tops if not name.endswith(".dist-info")} == {"ifd_fast", "ifd_kernels"}
    tracked = subprocess.run(
        ["git", "ls-files", "ifd_fast", "kernels"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    expected = {path.removeprefix("kernels/") for path in tracked if (ROOT / path).is_file()}
    assert expected <= set(names)
    code = "import ifd_fast, ifd_kernels; print(ifd_fast.__file__, ifd_kernels.__file__)"
    done = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path.insert(0, 'site')\n{code}"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == [
        str(tmp_path / "site" / name / "__init__.py") for name in ("ifd_fast", "ifd_kernels")
    ]
