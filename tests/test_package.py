"""What is installed, and what the sources promise."""

import ast
import email
import importlib.util
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile

import pytest

import kserket

ROOT = pathlib.Path(__file__).parent.parent
NOT_SOURCE = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist", "demo")


def sources(folder="kserket"):
    """Every Python file in a folder of the repository."""
    found = sorted((ROOT / folder).rglob("*.py"))
    assert found
    return found


def test_version_is_a_literal_and_the_same_everywhere():
    tree = ast.parse((ROOT / "kserket/version.py").read_text())
    assigned = [node for node in tree.body if isinstance(node, ast.Assign)]
    assert len(tree.body) == 2  # the docstring and the literal: nothing to import
    assert ast.literal_eval(assigned[0].value) == kserket.__version__
    assert f"version: {kserket.__version__}\n" in (ROOT / "CITATION.cff").read_text()
    assert kserket.__version__ in (ROOT / "CHANGELOG.md").read_text()


def test_sdist_holds_everything_that_its_tests_need(tmp_path):
    shutil.copytree(ROOT, tmp_path / "source", ignore=NOT_SOURCE)
    build = "from setuptools import build_meta; build_meta.build_sdist('..')"
    subprocess.run([sys.executable, "-c", build], cwd=tmp_path / "source", check=True)
    (path,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        found = {name.partition("/")[2] for name in archive.getnames()}
    for folder in ("kserket", "tests", "docs", "examples", "benchmarks"):
        files = {path.relative_to(ROOT).as_posix() for path in (ROOT / folder).rglob("*.*")}
        made = ("docs/_build", "docs/generated")
        files = {name for name in files if "__pycache__" not in name and not name.startswith(made)}
        assert files <= found, files - found
    tops = {path.name for path in ROOT.glob("*") if path.is_file() and path.name[0] != "."}
    assert tops <= found, tops - found


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel built from a copy of the sources."""
    folder = tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT, folder / "source", ignore=NOT_SOURCE)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder]
    if importlib.util.find_spec("setuptools") and importlib.util.find_spec("wheel"):
        command += ["--no-build-isolation"]
    subprocess.run([*command, folder / "source"], check=True)
    (path,) = folder.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        yield archive


def test_wheel_holds_the_package_and_nothing_else(wheel):
    names = {name for name in wheel.namelist() if not name.endswith("/")}
    information = f"kserket-{kserket.__version__}.dist-info/"
    package = {name for name in names if not name.startswith(information)}
    expected = {path.relative_to(ROOT).as_posix() for path in sources()}
    assert package == expected | {"kserket/py.typed"}
    assert any(name.startswith(information) and name.endswith("LICENSE") for name in names)


def test_wheel_says_what_it_needs(wheel):
    information = f"kserket-{kserket.__version__}.dist-info/METADATA"
    metadata = email.message_from_bytes(wheel.read(information))
    assert metadata["Name"] == "kserket"
    assert metadata["Requires-Python"] == ">=3.11"
    requirements = metadata.get_all("Requires-Dist")
    needed = {re.match(r"[\w-]+", r)[0] for r in requirements if "extra ==" not in r}
    assert needed == {
        "tensorflow",
        "keras",
        "numpy",
        "h5py",
        "scipy",
        "scikit-learn",
        "threadpoolctl",
    }
    extras = {"viz", "gibbs", "test", "docs", "tensorboard"}
    assert extras <= set(metadata.get_all("Provides-Extra"))
    assert "# kserket" in metadata.get_payload()  # the README is the description


def test_nothing_unpickles_or_runs_foreign_code():
    unsafe_modules = {"pickle", "cPickle", "joblib", "cloudpickle", "dill", "shelve", "marshal"}
    unsafe_names = {"eval", "exec", "enable_unsafe_deserialization", "Lambda"}
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            where = f"{path.name}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.Import):
                assert not {a.name.split(".")[0] for a in node.names} & unsafe_modules, where
            elif isinstance(node, ast.ImportFrom):
                assert (node.module or "").split(".")[0] not in unsafe_modules, where
            elif isinstance(node, ast.Call):
                called = getattr(node.func, "id", getattr(node.func, "attr", None))
                options = {k.arg: getattr(k.value, "value", None) for k in node.keywords}
                assert called not in unsafe_names, where
                assert options.get("allow_pickle") is not True, where
                assert options.get("safe_mode") is not False, where


def test_no_file_names_somebodys_machine():
    machine_path = re.compile(r"(^|[^\w.])/(work|root|home|Users|mnt)/\w")
    texts = [path for pattern in ("*.md", "*.cfg", "*.toml") for path in ROOT.glob(pattern)]
    for folder in ("kserket", "tests", "docs", "examples", "benchmarks"):
        for suffix in ("*.py", "*.md"):
            texts += (ROOT / folder).rglob(suffix)
    assert len(texts) > 20
    for path in texts:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            assert not machine_path.search(line), f"{path.relative_to(ROOT)}:{number}: {line}"
