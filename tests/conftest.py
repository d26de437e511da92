"""What all tests share: one thread, no windows, a fresh folder and fresh names for each test."""

import os
import pathlib

# Read when TensorFlow and BLAS start, here and in every subprocess that a test runs. Results that
# tests compare bit for bit depend on the number of threads.
for _variable in (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
):
    os.environ.setdefault(_variable, "1")
os.environ["MPLBACKEND"] = "Agg"
_path = [str(pathlib.Path(__file__).parent.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
os.environ["PYTHONPATH"] = os.pathsep.join(_path)  # for subprocesses, whatever their folder
os.environ.pop("KSERKET_MNIST", None)

import pytest  # noqa: E402

from kserket.core.module import Module  # noqa: E402


@pytest.fixture(autouse=True)
def fresh_start(tmp_path, monkeypatch):
    """Each test works in an empty folder, and its modules are numbered from 000."""
    monkeypatch.chdir(tmp_path)
    Module.reset_names()


def pytest_collection_modifyitems(config, items):
    """Leaves out tests marked `fuzz` unless `-m` asks for them."""
    if "fuzz" not in config.option.markexpr:
        chosen = [item for item in items if "fuzz" not in item.keywords]
        config.hook.pytest_deselected(items=[item for item in items if "fuzz" in item.keywords])
        items[:] = chosen
