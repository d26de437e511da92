"""Every public option and argument that is no data, and values that it may be given by mistake."""

import datetime
import decimal
import fractions
import inspect
import itertools
import pathlib
import re
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from matplotlib import pyplot
from robustness.doors import (
    COUNTS,
    IMAGES,
    LABELS,
    PROBS,
    REAL,
    UNIT,
    N,
    fitted_chain,
    fitted_lda,
    fitted_mixture,
    graph,
    is_of,
    new_vae,
    tower,
)
from robustness.judging import Hang, attempt, is_ours, words_of

import kserket
from kserket import gmm, mlda, mm, utils, vae
from kserket import sklearn as estimators

VALUES = {
    "None": None,
    "True": True,
    "False": False,
    "numpy True": np.True_,
    "0": 0,
    "-1": -1,
    "1": 1,
    "2": 2,
    "2.0": 2.0,
    "1.5": 1.5,
    "0.5": 0.5,
    "-0.5": -0.5,
    "0.0": 0.0,
    "1e300": 1e300,
    "10**30": 10**30,
    "nan": float("nan"),
    "inf": float("inf"),
    "-inf": float("-inf"),
    "int8(2)": np.int8(2),
    "float32(.5)": np.float32(0.5),
    "float32(nan)": np.float32("nan"),
    "array(2)": np.array(2),
    "array([2])": np.array([2]),
    "array of objects": np.array([None, "a"], object),
    "[1]": [1],
    "[]": [],
    "()": (),
    "{}": {},
    "{'a': 1}": {"a": 1},
    "set": {1},
    "'abc'": "abc",
    "''": "",
    "'2'": "2",
    "'False'": "False",
    "bytes": b"x",
    "complex": 1j,
    "Decimal": decimal.Decimal("0.5"),
    "Fraction": fractions.Fraction(1, 2),
    "date": datetime.date(2020, 1, 1),
    "an object": object(),
    "a class": int,
    "a function": len,
    "Ellipsis": ...,
    "Path": pathlib.Path("here"),
    "range": range(3),
}


class Call(NamedTuple):
    """A call with options.

    Attributes:
        room: Whose it is.
        name: What is called.
        options: Names of its options.
        run: Called with options by name; makes the thing and uses it.
    """

    room: str
    name: str
    options: tuple
    run: Callable


def options_of(function, *but):
    """Names of what a function takes by name, without some."""
    kinds = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY
    parameters = inspect.signature(function).parameters.values()
    names = [each.name for each in parameters if each.kind in kinds]
    return tuple(name for name in names if name not in ("self", *but))


# Things that are made, and what becomes of them ----------------------------------------------


def updated(family, required, small, data):
    """A run that makes a module, lets it learn, and reads what it says."""

    def run(**options):
        kserket.Module.reset_names()
        obs = kserket.Observation(data.copy())
        module = family(**required | small | options)
        module.connect(obs)
        made = kserket.Graph(module)
        if module.mode == "learn":
            made.fit(1, verbose=0)
            made.fit(1, verbose=0)
            made.predict(data)

    return run


def fitted(family, required, small, data):
    def run(**options):
        model = family(**required | small | options)
        if hasattr(model, "compile") and isinstance(model, kserket.VariationalAutoencoder):
            model.compile("adam", run_eagerly=True)
        model.fit(data, epochs=2, verbose=0)
        model.predict(data)
        model.get_config()

    return run


def estimated(family, required, small):
    def run(**options):
        family(**required | small | options).fit(REAL).predict(REAL)

    return run


def on(make, method, *before, **small):
    """A run that calls a method of something with options."""

    def run(**options):
        return getattr(make(), method)(*before, **small | options)

    return run


MODULES = {
    "mixture": (gmm.GMM, {"K": 2}, {"itr": 2, "n_init": 1, "save_dir": None}, REAL),
    "vae": (
        vae.VAE,
        {"latent_dim": 2},
        {"itr": 1, "hidden_encoder_dim": 3, "hidden_decoder_dim": 3, "save_dir": None},
        UNIT,
    ),
    "mlda": (mlda.MLDA, {"K": 2}, {"itr": 2, "n_init": 1, "save_dir": None}, COUNTS),
    "chain": (mm.MarkovModel, {}, {"itr": 2, "n_init": 1, "save_dir": None}, PROBS),
}
MODELS = {
    "mixture": (kserket.GaussianMixture, {"num_components": 2}, {"n_init": 1}, REAL),
    "vae": (
        kserket.VariationalAutoencoder,
        {"latent_dim": 2},
        {"encoder_units": 3, "decoder_units": 3},
        UNIT,
    ),
    "mlda": (kserket.MultimodalLDA, {"num_topics": 2}, {"n_init": 1}, COUNTS),
    "chain": (kserket.MarkovChain, {"num_states": 2}, {"n_init": 1}, PROBS),
}
FROM_MODEL = {  # options that a module hands to its model
    "mixture": options_of(kserket.GaussianMixture, "num_components"),
    "vae": (),
    "mlda": ("design_effects", "tolerance"),
    "chain": ("initial_prior", "transition_prior", "report_prior", "tolerance"),
}


def making_calls():
    """Constructors of modules, models and estimators."""
    for room, (family, required, small, data) in MODULES.items():
        names = dict.fromkeys((*options_of(family), *FROM_MODEL[room]))
        run = updated(family, required, small, data)
        yield Call(room, family.__name__, tuple(names), run)
    for room, (family, required, small, data) in MODELS.items():
        run = fitted(family, required, small, data)
        yield Call(room, family.__name__, options_of(family), run)
    for family, required, small in (
        (estimators.GaussianMixture, {"n_components": 2}, {"n_init": 1, "max_iter": 2}),
        (estimators.GraphClusterer, {"n_clusters": 2}, {"rounds": 1}),
    ):
        run = estimated(family, required, small)
        yield Call("doors", f"sklearn.{family.__name__}", options_of(family), run)


def method_calls():
    """Methods of models and graphs."""
    quick = {"epochs": 2, "verbose": 0}
    fits = ("epochs", "callbacks", "verbose")
    samples = ("num_samples", "seed")
    for room, make, data in (
        ("mixture", fitted_mixture, REAL),
        ("chain", fitted_chain, PROBS),
        ("mlda", fitted_lda, COUNTS),
    ):
        yield Call(room, "fit", fits, on(make, "fit", data, **quick))
        yield Call(room, "predict", ("batch_size", "verbose"), on(make, "predict", data))
        yield Call(room, "export", ("filepath", "format"), on(make, "export", filepath="there"))
    run = on(fitted_mixture, "sample", num_samples=3)
    yield Call("mixture", "sample", (*samples, "component"), run)
    run = on(fitted_lda, "sample", num_samples=3)
    yield Call("mlda", "sample", (*samples, "topic", "lengths"), run)
    run = on(fitted_lda, "predict_modality", COUNTS, modality=0)
    yield Call("mlda", "predict_modality", ("modality",), run)
    run = on(fitted_chain, "sample", num_steps=4)
    yield Call("chain", "sample", ("num_steps", "seed"), run)
    run = on(fitted_chain, "sample_paths", PROBS, num_paths=2)
    yield Call("chain", "sample_paths", ("num_paths", "seed"), run)
    train = {"epochs": 1, "batch_size": N, "verbose": 0}
    yield Call("vae", "fit", ("epochs", "batch_size"), on(new_vae, "fit", UNIT, **train))
    yield Call("vae", "sample", samples, on(new_vae, "sample", num_samples=3))
    yield Call("vae", "bound", samples, on(new_vae, "bound", UNIT))

    yield Call("doors", "Graph", ("seed",), lambda **options: kserket.Graph(gmm.GMM(2), **options))
    names = options_of(kserket.Graph.fit)
    yield Call("doors", "Graph.fit", names, on(graph, "fit", rounds=1, verbose=0))
    names = options_of(kserket.Graph.predict, "x")
    yield Call("doors", "Graph.predict", names, on(tower, "predict", {"x": REAL, "w": COUNTS}))
    names = options_of(kserket.Graph.evaluate, "x", "y_true")
    yield Call("doors", "Graph.evaluate", names, on(graph, "evaluate", REAL))
    names = options_of(kserket.Graph.generate)
    yield Call("doors", "Graph.generate", names, on(graph, "generate", num_samples=2))
    names = options_of(kserket.Graph.save)
    yield Call("doors", "Graph.save", names, on(graph, "save", path="g.kserket"))
    names = options_of(kserket.Graph.export)
    yield Call("doors", "Graph.export", names, on(graph, "export", path="there"))


def made_of(function, *before, **small):
    return lambda **options: function(*before, **small | options)


def passing(family, **small):
    """A run that makes a small module and passes data through it."""

    def run(**options):
        kserket.Module.reset_names()
        obs = kserket.Observation(REAL.copy())
        module = family(**small | options)
        module.connect(obs)
        module.update()

    return run


def other_calls():
    """Observation, small modules, functions."""
    data = kserket.datasets
    yield Call(
        "doors",
        "Observation",
        ("name", "allow_missing", "valid_range"),
        passing(kserket.Observation, data=REAL, allow_missing=True),
    )
    yield Call("doors", "Buffer", ("size", "name"), passing(utils.Buffer))
    yield Call("doors", "GroupSum", ("group_idx",), passing(utils.GroupSum, group_idx=LABELS))
    yield Call(
        "doors", "TextSaver", ("filename", "name"), passing(utils.TextSaver, filename="t.txt")
    )
    yield Call("doors", "make_mixture", options_of(data.make_mixture), made_of(data.make_mixture))
    yield Call("doors", "load_graph", ("path",), made_of(kserket.load_graph))
    for name in ("deskew", "oriented_gradients"):
        function = getattr(kserket.preprocessing, name)
        names = options_of(function, "images")
        yield Call("doors", name, names, made_of(function, IMAGES))
    for name, before in (
        ("plot_latent", [REAL]),
        ("plot_active_units", [LABELS]),
        ("plot_generated", [IMAGES[None]]),
        ("plot_reconstructions", [IMAGES, IMAGES]),
        ("plot_confusion", [LABELS, LABELS]),
    ):
        function = getattr(kserket.plotting, name)
        names = options_of(function)[len(before) :]
        yield Call("doors", name, names, made_of(function, *before))
    yield Call("doors", "Module", ("name", "learnable"), made_of(kserket.Module))


def all_calls():
    """Every call, rooms mixed."""
    return itertools.chain(making_calls(), method_calls(), other_calls())


CALLED = {  # what an error calls them, where not by their name
    **dict.fromkeys(("schedule", "module_callbacks"), "no module"),
    "path": "no file|is a folder",
    "outputs": "no module",
    "top": "no module",
    "learning_rate": "learning rate",
    "num_states": "Expected probabilities of 1 classes",  # data of another number
}
FUNCTIONS = "build", "encoder", "decoder"  # users' own: what they raise is raised as it is
FORMATS = "Supported formats are"  # Keras lists its own
KERAS = "__array__ implementation doesn't accept a copy keyword"  # Keras 3.15 under NumPy 2


def verdict(call, option, value):
    """None if the value works or is refused by the option's name; else what happens."""
    pyplot.close("all")
    _, error, warning = attempt(lambda _, value: call.run(**{option: value}), None, value)
    if error is None:
        return f"taken with a warning: {warning}" if warning and KERAS not in warning else None
    if isinstance(error, Hang):
        return "hangs"
    if is_of("sklearn", error):  # scikit-learn's own check of estimators
        return None
    if option in FUNCTIONS and callable(value) or option == "format" and FORMATS in str(error):
        return None
    if not is_ours(error):
        return f"inner error: {words_of(error)}"
    if not re.search(rf"\b({option}|{CALLED.get(option, option)})\b", str(error)):
        return f"does not name the option: {words_of(error)}"
    return None
