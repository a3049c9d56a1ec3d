"""No kernel without an oracle, a benchmark and a counted region; no public name left out.

Goal: what is missing is named here, on the day it goes missing. Method: compare what the modules
define with what stands beside them.
"""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from bench.workloads import load_regions
from ifd_kernels import _jit
from tests.conftest import ROOT

KERNELS = ROOT / "kernels" / "ifd_kernels"
LIBRARY = ROOT / "ifd_fast"
NOT_KERNELS = {"__init__", "layout"}  # names of bytes, nothing that runs


def kernel_modules() -> list[str]:
    """Return the names of all modules that may hold kernels."""
    stems = (path.stem for path in sorted(KERNELS.glob("*.py")))
    return [stem for stem in stems if not stem.startswith("_") and stem not in NOT_KERNELS]


def load(module: str) -> ModuleType:
    """Import a kernel module, so that its kernels register."""
    return importlib.import_module(f"ifd_kernels.{module}")


def kernels_of(module: str) -> list[str]:
    """Return the names of the kernels that `module` defines."""
    load(module)
    names = [name.split(".") for name in _jit.kernels()]
    if not names:  # the compiler is off: the registry holds plain functions all the same
        raise AssertionError("no kernel has registered")
    return [name for owner, name in names if owner == module]


def public_kernels(module: str) -> list[str]:
    """Return the kernels of `module` that stand in its `__all__`."""
    exported = set(load(module).__all__)
    return [name for name in kernels_of(module) if name in exported]


def python_files(*folders: Path) -> Iterator[tuple[str, ast.Module]]:
    """Yield (path from the root, syntax tree) of every Python file below `folders`."""
    for folder in folders:
        for path in sorted(folder.rglob("*.py")):
            yield str(path.relative_to(ROOT)), ast.parse(path.read_text())


def covered_kernels() -> set[str]:
    """Return `module.kernel` of everything that the oracles say, by name or by `COVERS`.

    `COVERS` lists kernels whose meaning an oracle of another name has: `name` for one of the
    module of the same name, `module.name` for a leaf of another module.
    """
    covered = set()
    for path in sorted((ROOT / "tests" / "oracle").glob("*.py")):
        if path.stem == "__init__":
            continue
        oracle = importlib.import_module(f"tests.oracle.{path.stem}")
        names = {*vars(oracle), *getattr(oracle, "COVERS", ())}
        covered |= {name if "." in name else f"{path.stem}.{name}" for name in names}
    return covered


@pytest.mark.parametrize("module", kernel_modules())
def test_every_public_kernel_has_an_oracle(module: str) -> None:
    """Some oracle has the function, or lists it in its `COVERS`."""
    covered = covered_kernels()
    missing = [name for name in public_kernels(module) if f"{module}.{name}" not in covered]
    assert not missing, (
        f"{missing} of ifd_kernels.{module} have no oracle: write tests/oracle/{module}.py from "
        f'the rules, or list "{module}.NAME" in the COVERS of the oracle that says what they mean'
    )


def test_covers_names_real_kernels() -> None:
    """An oracle's `COVERS` names kernels that exist, so that it can't go stale."""
    known = {f"{module}.{name}" for module in kernel_modules() for name in kernels_of(module)}
    faults = []
    for path in sorted((ROOT / "tests" / "oracle").glob("*.py")):
        covers = getattr(importlib.import_module(f"tests.oracle.{path.stem}"), "COVERS", ())
        full = {name if "." in name else f"{path.stem}.{name}" for name in covers}
        faults += sorted(f"{path.name}: {name}" for name in full - known)
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("module", kernel_modules())
def test_every_kernel_module_is_benchmarked_and_counted(module: str) -> None:
    """A module with public kernels is timed in some bench/test_*.py and has a counted region.

    A module of leaves may be covered by the region of the kernel that calls them.
    """
    regions = load_regions()
    if not public_kernels(module) or any(module in region.covers for region in regions.values()):
        return
    imported = {
        name
        for path, tree in python_files(ROOT / "bench")
        if Path(path).name.startswith("test_")
        for name in imported_names(tree)
    }
    timed = any(name.startswith(f"ifd_kernels.{module}") for name in imported)
    assert timed or (ROOT / "bench" / f"test_{module}.py").is_file(), (
        f"write bench/test_{module}.py: the kernel beside its oracle in one group"
    )
    counted = [name for name in regions if name.split(".")[0] == module]
    assert counted, (
        f"register a region `{module}.KERNEL` in bench/regions_{module}.py, or name {module!r} in "
        "`covers` of the region whose kernel calls it"
    )


def imported_names(tree: ast.Module) -> set[str]:
    """Return every imported name of a file, in full."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return names


def test_a_kernel_that_others_import_is_public() -> None:
    """A kernel imported by another file stands in `__all__`, and so needs an oracle."""
    private = {
        f"ifd_kernels.{module}.{name}"
        for module in kernel_modules()
        for name in set(kernels_of(module)) - set(load(module).__all__)
    }
    folders = (KERNELS, LIBRARY)
    faults = [
        f"{path} imports {name}; put it into __all__"
        for path, tree in python_files(*folders)
        for name in sorted(imported_names(tree) & private)
    ]
    assert not faults, "\n".join(faults)


def defined_names(tree: ast.Module) -> set[str]:
    """Return the public functions and classes that a file defines at its top level."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return {
        node.name for node in tree.body if isinstance(node, kinds) and not node.name.startswith("_")
    }


def exported_names(tree: ast.Module) -> list[str] | None:
    """Return `__all__` of a file as written, or None if it has none."""
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        if isinstance(node, ast.AnnAssign):
            targets = [node.target]
        if any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets):
            value = getattr(node, "value", None)
            return [str(name) for name in ast.literal_eval(value)] if value else []
    return None


def test_all_is_complete() -> None:
    """Each module's `__all__` names every public function and class that it defines."""
    faults = []
    for path, tree in python_files(LIBRARY, KERNELS):
        exported = exported_names(tree)
        defined = defined_names(tree)
        if path.startswith("kernels/"):  # leaf kernels are private by staying out of __all__
            defined -= set(kernels_of(Path(path).stem)) if "_jit" not in path else defined
        if defined and exported is None:
            faults.append(f"{path} has no __all__")
        elif exported is not None and (missing := sorted(defined - set(exported))):
            faults.append(f"{path}: not in __all__: {', '.join(missing)}")
    assert not faults, "\n".join(faults)


def test_all_names_what_exists() -> None:
    """Each name in a kernel module's `__all__` exists."""
    faults = [
        f"ifd_kernels.{module}.{name}"
        for module in kernel_modules()
        for name in load(module).__all__
        if not hasattr(load(module), name)
    ]
    assert not faults


def test_every_test_says_what_holds() -> None:
    """Each test's docstring is a sentence: it begins with a capital and ends with a full stop."""
    faults = []
    for path, tree in python_files(ROOT / "tests"):
        for node in ast.walk(tree):
            if not isinstance(node, ast.FunctionDef) or not node.name.startswith("test_"):
                continue
            summary = (ast.get_docstring(node) or "").split("\n\n")[0].strip()
            is_sentence = summary.endswith((".", ":")) and not summary[:1].islower()
            if not is_sentence:
                faults.append(f"{path}:{node.lineno}: {node.name} has no sentence")
    assert not faults, "\n".join(faults)
