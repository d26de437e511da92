"""The module around a PyTorch network that docs/extending.md shows, where torch is installed."""

import pathlib
import re

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import kserket as srk

pytest.importorskip("torch", reason="needs torch")
pytestmark = pytest.mark.filterwarnings("ignore:CUDA initialization:UserWarning")
PAGE = pathlib.Path(__file__).parent.parent / "docs" / "extending.md"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """What the page's block leaves behind."""
    code = next(
        block
        for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
        if "import torch" in block
    )
    before, folder = pathlib.Path.cwd(), tmp_path_factory.mktemp("page")
    namespace = {"__name__": "__main__"}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        exec(compile(code, str(PAGE), "exec"), namespace)
    assert pathlib.Path.cwd() == before
    return {**namespace, "path": folder / "torch.kserket"}


def test_a_torch_network_learns_under_a_mixture(page):
    history = page["graph"].history.history
    assert np.isfinite(history["torch/loss"]).all() and history["torch/loss"][-1] < 0.1
    assert page["gmm1"].logs["accuracy"] > 0.5
    assert page["autoencoder"].get_backward_msg().shape == (len(page["x"]), 8)


def test_it_is_saved_and_predicts_the_same(page):
    x, loaded = page["x"], srk.load_graph(page["path"])
    assert_allclose(loaded.predict(x[:20]), page["graph"].predict(x[:20]), atol=1e-5)
    for name, value in page["autoencoder"].get_parameters().items():
        assert_array_equal(loaded["torch"].get_parameters()[name], value)


def test_a_failed_update_is_undone(page, monkeypatch):
    module = page["autoencoder"]
    before = module.get_parameters()
    learn = type(module).learn

    def fails(self, *arguments):
        learn(self, *arguments)
        raise RuntimeError("power is out")

    monkeypatch.setattr(type(module), "learn", fails)
    with pytest.raises(RuntimeError, match="power"):
        module.update()
    for name, value in module.get_parameters().items():
        assert_array_equal(value, before[name])
