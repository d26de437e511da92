"""Imports point one way: families stand on `core`, all on `inference`, and that on `GROUND`."""

import ast
import graphlib
import pathlib

import pytest

PACKAGE = pathlib.Path(__file__).parent.parent / "kserket"
GROUND = {
    "arrays",
    "floors",
    "hosts",
    "labels",
    "row_names",
    "storage",
    "typing",
}  # on which all may stand
TOOLS = {"metrics", "datasets", "plotting", "version"}
FAMILIES = {"bow", "gmm", "mlda", "mm", "vae"}  # that recipes are made of
FAMILY_MAY_IMPORT = {"core", "inference", "metrics", "version"} | GROUND  # and its own files
MAY_IMPORT = {
    **dict.fromkeys(("floors", "row_names", "storage", "typing"), set()),
    "arrays": {"storage", "floors", "typing"},
    "hosts": {"storage"},
    "labels": {"arrays", "typing"},
    "core.messages": GROUND,
    "inference": {"inference"} | GROUND,
    "core": FAMILY_MAY_IMPORT,
    **dict.fromkeys(TOOLS, TOOLS | GROUND),
    **dict.fromkeys(("datasets", "plotting"), TOOLS | GROUND | {"core"}),  # checks of options
    "views": {"views", "preprocessing"} | FAMILY_MAY_IMPORT,
    "recipes": {"core", "inference", "preprocessing", "views", *FAMILIES} | GROUND,  # whole graphs
    "repetition": {"core", "plotting"} | GROUND,
    "explanation": {"core", "cnn", "preprocessing", "views", "plotting", *FAMILIES} | GROUND,
    "selection": {"core", "gmm", "metrics", "plotting"} | GROUND,  # compares whole models
    "sklearn": {"core", "gmm", "vae"} | GROUND,  # scikit-learn's front door
    "demo": {"core", "datasets", "gmm", "metrics", "mlda", "plotting"},  # whole graphs
    "cli": {"core", "demo"},
    "__main__": {"cli"},
}


def place(path):
    """Where a file stands: ("core", "messages"); ("vae",) for vae/__init__.py; () at the door."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return parts[:-1] if parts[-1] == "__init__" else parts


FILES = {place(path): path for path in sorted(PACKAGE.rglob("*.py")) if place(path)}


def imported_rooms(source, package=()):
    """The first names below `kserket` that a file imports, wherever in the file.

    A room within a room, such as `core.messages`, may import its own files.
    """
    own = ".".join(["kserket", *package, ""]) if len(package) > 1 else None
    return {
        name.split(".")[1]
        for name in imported_names(source, package)
        if name.startswith("kserket.") and not (own and name.startswith(own))
    }


def imported_names(source, package=()):
    """Full names of what a file imports, wherever in the file."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ["kserket", *package][: len(package) + 2 - node.level] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            names = [f"{module}.{alias.name}" for alias in node.names]
        else:
            continue
        found.update(names)
    return found


def allowed(parts):
    """The rooms that a file at this place may import."""
    for room in (".".join(parts[:2]), parts[0]):
        if room in MAY_IMPORT:
            return MAY_IMPORT[room]
    return FAMILY_MAY_IMPORT | {parts[0]}


@pytest.mark.parametrize("parts", FILES, ids=lambda parts: "/".join(parts))
def test_imports_point_one_way(parts):
    path = FILES[parts]
    package = parts if path.name == "__init__.py" else parts[:-1]
    forbidden = imported_rooms(path.read_text(encoding="utf-8"), package) - allowed(parts)
    assert not forbidden, f"kserket/{'/'.join(parts)} must not import {sorted(forbidden)}"


def test_no_file_imports_itself_by_way_of_others():
    readers = {}
    for parts, path in FILES.items():
        package = parts if path.name == "__init__.py" else parts[:-1]
        names = imported_names(path.read_text(encoding="utf-8"), package)
        names = [tuple(name.split(".")[1:]) for name in names if name.startswith("kserket.")]
        files = {name if name in FILES else name[:-1] for name in names}
        readers[parts] = (files & FILES.keys()) - {parts}
    graphlib.TopologicalSorter(readers).prepare()  # raises CycleError, which tells the way


def test_rooms_are_found():
    assert {parts[0] for parts in FILES} >= TOOLS | {"core", "inference", "vae", "gmm"}


@pytest.mark.parametrize(
    "source, package, rooms",
    [
        ("import kserket.vae.model", (), {"vae"}),
        ("from kserket import gmm, metrics", (), {"gmm", "metrics"}),
        ("from kserket.core.messages import Gaussian", (), {"core"}),
        ("def f():\n    from ..gmm import model", ("vae",), {"gmm"}),
        ("from . import messages", ("core",), {"core"}),
        ("from .module import Module", ("core",), {"core"}),
        ("from kserket.core.messages.kinds import Gaussian", ("core", "messages"), set()),
        ("from kserket.core.module import Module", ("core", "messages"), {"core"}),
        ("import numpy\nfrom kserketing import x", (), set()),
    ],
)
def test_every_way_to_import_is_seen(source, package, rooms):
    assert imported_rooms(source, package) == rooms
