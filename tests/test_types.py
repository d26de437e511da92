"""The types that `py.typed` promises: on every public callable, and of use in a user's script."""

import inspect
import pathlib
import re
import subprocess
import sys

import pytest

import kserket
import kserket.sklearn

ROOT = pathlib.Path(__file__).parent.parent

SCRIPT = """
from typing import Any, assert_type

import numpy as np
from numpy.typing import NDArray

import kserket as srk
from kserket import gmm, mlda, mm, tt, utils, vae
from kserket.sklearn import GraphClusterer
from kserket.typing import Mode

Array = NDArray[Any]
Floats = NDArray[np.floating[Any]]

x, labels = srk.datasets.load_digits()
obs = srk.Observation(x, name="image")
vae1 = vae.VAE(10, itr=10, KL_param=1 / 16, save_dir=None)
gmm1 = gmm.GMM(10, category=labels, init="umap", keep_groups=True)
vae1.connect(obs)
gmm1.connect(vae1)
graph = srk.Graph(gmm1, seed=0)
graph.fit(2, tolerance=1e-3, schedule={"vae": 2})

assert_type(x, Array)
assert_type(graph, srk.Graph)
assert_type(graph["gmm"], srk.Module)
assert_type(graph.observations, dict[str, srk.Observation])
assert_type(graph.predict(x), Array | Any)
assert_type(graph.predict(x, outputs="vae"), Array)
assert_type(graph.predict(x, outputs=["vae", "gmm"]), dict[str, Array])
assert_type(graph.evaluate(x, labels), dict[str, float])
assert_type(graph.export("served"), list[str])
assert_type(srk.load_graph("digits.kserket", data={"image": x}), srk.Graph)
assert_type(gmm1.posterior, Floats | None)
assert_type(gmm1.mode, Mode)
assert_type(gmm1.model, srk.GaussianMixture | Any)
assert_type(gmm1.model.means, Floats | Any)
assert_type(graph["gmm"].seed, int | None)
gmm1.mode = "recog"
gmm1.labels = labels

mixture = srk.GaussianMixture(3, inference="gibbs")
assert_type(mixture.means, Floats)
assert_type(mixture.partial_fit(x), srk.GaussianMixture)
assert_type(mixture.predict(x), Floats | Any)
chain = srk.MarkovChain(3, trust=float("inf"))
assert_type(chain.transition_matrix, Floats)
topics = srk.MultimodalLDA(3, beta=[0.1, 0.2])
assert_type(topics.topics, tuple[Floats, ...])
network = srk.VariationalAutoencoder(2, likelihood="gaussian")
assert_type(network.encode(x), tuple[Floats, Floats])
assert_type(GraphClusterer(n_clusters=3).fit(x), GraphClusterer)
for module in (mlda.MLDA(3), mm.MarkovModel(), tt.TtoT(), tt.NamingGame(), utils.Buffer(size=9)):
    assert_type(module.get_name(), str)

message = srk.Categorical([[0.5, 0.5]])
assert_type(message.probs, Floats)
assert_type(message.take(slice(1)), srk.Categorical)
assert_type(srk.Gaussian(np.asarray(message)).variance, Floats | None)
assert_type(srk.metrics.clustering_scores(labels, message.classes), dict[str, float])


@srk.register_module("my_lab")
class Mean(srk.LearningModule):
    def build_model(self, inputs: list[Any]) -> Any:
        return None

    def learn(self, inputs: list[Any], prior: Any, rng: np.random.Generator) -> dict[str, float]:
        return {}

    def infer(self, inputs: list[Any], prior: Any) -> srk.Inference:
        return srk.Inference(inputs[0], [None])

    def evaluate(self, inputs: list[Any], prior: Any) -> dict[str, float]:
        return {}

    def tensor_infer(self, inputs: list[Any], prior: Any, terms: Any) -> Any:
        return inputs[0]

    def tensor_decode(self, latent: Any, terms: Any) -> list[Any]:
        return [latent]


assert_type(Mean("mean"), Mean)
"""

ARRAY = re.compile(r"^(?!dict|.*Callable).*(Array|NDArray|Floats|Integers|Booleans)")
SHAPE = re.compile(r"\([A-Zn(1][^)]*[,)]|[Aa]s in|[Ll]ikewise|Must be None")

FAULTS = {
    "graph.fit(epochs=3)": "call-arg",
    'graph.fit("3")': "arg-type",
    'gmm1.mode = "learning"': "assignment",
    'gmm.GMM(10, init="random")': "arg-type",
    "vae1.connect(x)": "arg-type",
    "graph.predict(x, outputs=3)": "call-overload",
}


def of_module(module):
    """Every public callable of a module: (path, function)."""
    for name in getattr(module, "__all__", dir(module)):
        value = getattr(module, name)
        path = f"{module.__name__}.{name}"
        if inspect.ismodule(value):
            if hasattr(module, "__all__"):
                yield from of_module(value)
        elif hasattr(module, "__all__") or getattr(value, "__module__", "") == module.__name__:
            if inspect.isclass(value):
                yield from of_class(value, path)
            elif inspect.isfunction(value) and not name.startswith("_"):
                yield path, value


def of_class(cls, path):
    """Every public method of a class, its constructor, and both functions of a property."""
    for name in dir(cls):
        value = inspect.getattr_static(cls, name)
        if isinstance(value, property):
            parts = {name: value.fget, f"{name} =": value.fset}
        else:
            parts = {name: getattr(value, "__func__", value)}  # of a class or static method
        for part, function in parts.items():
            own = getattr(function, "__module__", "") or ""
            is_written = inspect.isfunction(function) and own.startswith("kserket")
            if is_written and (not name.startswith("_") or name == "__init__"):
                yield f"{path}.{part}", function


CALLABLES = dict([*of_module(kserket), *of_module(kserket.sklearn)])


def untyped(function):
    """Names of parameters without a type, and "return" where that has none."""
    signature = inspect.signature(function)
    names = [
        name
        for name, parameter in signature.parameters.items()
        if parameter.annotation is parameter.empty and name not in ("self", "cls")
    ]
    return names + ["return"] * (signature.return_annotation is signature.empty)


def test_every_public_callable_has_types():
    missing = {path: untyped(function) for path, function in CALLABLES.items()}
    assert not {path: names for path, names in missing.items() if names}


def without_shape(function):
    """Array parameters (and "return") whose shape the docstring does not give."""
    owner, _, name = function.__qualname__.partition(".")
    documented = inspect.unwrap(function).__globals__[owner] if name == "__init__" else function
    text = inspect.cleandoc(documented.__doc__ or "")
    if not text or re.match(r"`\w+`, by the name", text):
        return []  # what it overrides, or calls, tells
    entries = dict(re.findall(r"^    \*{0,2}(\w+): (.*(?:\n {8}.*)*)", text, flags=re.MULTILINE))
    signature = inspect.signature(function)
    missing = [
        name
        for name, parameter in signature.parameters.items()
        if ARRAY.search(str(parameter.annotation))
        and not SHAPE.search(entries.get(name, "" if entries else text))
    ]
    return missing + ["return"] * bool(
        ARRAY.search(str(signature.return_annotation)) and not SHAPE.search(text)
    )


def test_every_array_has_a_shape():
    missing = {path: without_shape(function) for path, function in CALLABLES.items()}
    missing = {path: names for path, names in missing.items() if names}
    assert not missing


def test_public_callables_are_found():
    assert len(CALLABLES) > 300
    assert CALLABLES.keys() >= {
        *("kserket.Graph.__init__", "kserket.Graph.predict", "kserket.load_graph"),
        *("kserket.gmm.GMM.posterior", "kserket.utils.Buffer.infer", "kserket.tt.TtoT.learn"),
        *("kserket.Module.connect", "kserket.Categorical.from_log", "kserket.Observation.data"),
        *("kserket.sklearn.GraphClusterer.fit", "kserket.plotting.plot_latent"),
    }
    assert untyped(lambda x, *args, y: int) == ["x", "args", "y", "return"]


def test_a_type_checker_knows_what_calls_return_and_what_is_wrong(tmp_path):
    pytest.importorskip("mypy")
    lines = [*SCRIPT.splitlines(), *FAULTS]
    (tmp_path / "script.py").write_text("\n".join(lines) + "\n")
    (tmp_path / "mypy.ini").write_text(
        "[mypy]\nignore_missing_imports = True\ncheck_untyped_defs = True\n"
        "[mypy-kserket.*]\nfollow_imports = silent\n"
    )
    found = subprocess.run(
        [sys.executable, "-m", "mypy", "script.py", "--no-error-summary"],
        cwd=tmp_path,
        env={"MYPYPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    errors = [line for line in found.stdout.splitlines() if ": error: " in line]
    expected = {len(SCRIPT.splitlines()) + n: code for n, code in enumerate(FAULTS.values(), 1)}
    told = {int(line.split(":")[1]): line.rpartition("[")[2].rstrip("]") for line in errors}
    assert told == expected, found.stdout + found.stderr
