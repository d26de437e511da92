"""Every public door through which arrays come in, each with an array that it takes."""

import functools
import traceback
from collections.abc import Callable
from typing import NamedTuple

import keras
import matplotlib
import numpy as np

import kserket
from kserket import gmm, mlda, mm, vae
from kserket import sklearn as estimators

matplotlib.use("Agg")

N = 12

# Values that every form of SAME holds exactly: eighths of small whole numbers.
REAL = np.array(
    [[-3.0, 1.5], [-2.5, 1.0], [-3.5, 0.75], [-2.0, 2.0], [-3.25, 1.25], [-2.75, 1.5]]
    + [[4.0, -1.0], [3.5, -0.5], [4.5, -1.5], [3.75, -2.0], [4.25, -0.25], [5.0, -1.25]]
)
UNIT = np.array([[index * 5 % 9 / 8 for index in range(row, row + 6)] for row in range(N)])
PROBS = np.array([[0.25, 0.75], [0.125, 0.875], [0.75, 0.25]] * 4)
COUNTS = np.array([[5, 3, 0, 0, 1], [4, 4, 1, 0, 0], [0, 1, 4, 3, 2], [0, 0, 3, 5, 1]] * 3) * 1.0
POSITIVE = np.array([[0.75, 1.25], [2.0, 0.5 + 0.25], [1.5, 3.0]] * 4)
WEIGHTS = np.array([1.0, 2.0, 0.75, 3.0, 1.0, 2.5] * 2)
LABELS = np.array([0, 0, 1, 0, 0, 1, 1, 1, 0, 1, 1, 0])
IMAGES = np.array([np.roll(np.eye(8), shift, axis=1).ravel() for shift in range(4)])


class Door(NamedTuple):
    """One argument of one function.

    Attributes:
        room: Whose it is: a family, or what is common.
        name: What is called with what.
        base: An array that it takes.
        make: Called without arguments for what the call works on.
        run: Called with that and a value; returns arrays, or a tuple or dict of these.
        words: Words of which an error holds one: the argument, or the module.
        takes: Kinds of other numbers that mean something here.
    """

    room: str
    name: str
    base: np.ndarray
    make: Callable
    run: Callable
    words: tuple
    takes: tuple = ()

    def lets_pass(self, error):
        """Whether another's words hold the cure: scikit-learn's of its X, or a file's name."""
        if isinstance(error, FileNotFoundError):
            return "nowhere.npy" in str(error)
        return self.name.startswith("sklearn") and is_of("sklearn", error)


def is_of(library, error):
    """Whether a library raised the error."""
    return f"/{library}/" in traceback.extract_tb(error.__traceback__)[-1].filename


# Targets -------------------------------------------------------------------------------------


def fitted_mixture(**options):
    model = kserket.GaussianMixture(2, seed=0, n_init=1, **options)
    model.fit(REAL, epochs=3, verbose=0)
    return model


def new_mixture():
    return kserket.GaussianMixture(2, seed=0, n_init=1)


def fitted_chain():
    model = kserket.MarkovChain(2, seed=0, n_init=1)
    model.fit(PROBS, epochs=3, verbose=0)
    return model


def fitted_lda(alpha=None):
    model = kserket.MultimodalLDA(2, seed=0, n_init=1, alpha=alpha)
    model.fit(COUNTS, epochs=3, verbose=0)
    return model


def new_vae(likelihood="bernoulli"):
    keras.utils.set_random_seed(0)
    model = kserket.VariationalAutoencoder(
        2, seed=0, encoder_units=4, decoder_units=4, likelihood=likelihood
    )
    model.compile(keras.optimizers.SGD(0.01), run_eagerly=True)
    model.build({"x": UNIT.shape})
    return model


def graph(fitted=True):
    kserket.Module.reset_names()
    obs = kserket.Observation(REAL.copy())
    mixture = gmm.GMM(2, itr=3, n_init=1, save_dir=None, seed=0)
    mixture.connect(obs)
    made = kserket.Graph(mixture, seed=0)
    if fitted:
        made.fit(1, verbose=0)
    return made


def tower():
    """Probabilities and counts, which a topic model joins, and a chain over it."""
    kserket.Module.reset_names()
    obs, words = kserket.Observation(REAL.copy(), name="x"), kserket.Observation(COUNTS.copy(), "w")
    mixture = gmm.GMM(2, itr=3, n_init=1, save_dir=None)
    topics = mlda.MLDA(2, itr=3, n_init=1, save_dir=None)
    chain = mm.MarkovModel(itr=3, n_init=1, save_dir=None)
    mixture.connect(obs)
    topics.connect(mixture, words)
    chain.connect(topics)
    made = kserket.Graph(chain, seed=0)
    made.fit(1, verbose=0)
    return made


def vae_graph():
    kserket.Module.reset_names()
    obs = kserket.Observation(UNIT.copy())
    top = vae.VAE(
        2, itr=1, hidden_encoder_dim=4, hidden_decoder_dim=4, save_dir=None, learning_rate=1e-3
    )
    top.connect(obs)
    made = kserket.Graph(top, seed=0)
    made.fit(1, verbose=0)
    return made


def observation():
    kserket.Module.reset_names()
    return kserket.Observation(REAL.copy())


def module():
    kserket.Module.reset_names()
    return kserket.Module("free")


def heard_module():
    made = graph()
    return made["gmm"]


# Calls ---------------------------------------------------------------------------------------


def call(method, **fixed):
    """A run that calls a method with the value first."""
    return lambda model, value: getattr(model, method)(value, **fixed)


def named(method, name, x, **fixed):
    """A run that calls a method with x and the value by name."""
    return lambda model, value: getattr(model, method)(x, **{name: value}, **fixed)


def entry(method, name, x, **fixed):
    """A run that calls a method with a dict of x and the value."""
    return lambda model, value: getattr(model, method)({"x": x, name: value}, **fixed)


def applied(function, *before, **fixed):
    """A run that calls a function with the value after other arguments."""
    return lambda _, value: function(*before, value, **fixed)


def learned(run):
    """A run that answers with the weights after it."""

    def then(model, value):
        run(model, value)
        return model.get_weights()

    return then


def observed(model, value):
    model.set_data(value)
    return model.data


def plotted(function, name=None, *args):
    def run(_, value):
        from matplotlib import pyplot

        drawn = function(*args, **{name: value}) if name else function(value)
        pyplot.close("all")
        return np.array(drawn is not None)

    return run


def trained_on(value):
    kserket.Module.reset_names()
    obs = kserket.Observation(value)
    mixture = gmm.GMM(2, itr=3, n_init=1, save_dir=None, seed=0)
    mixture.connect(obs)
    made = kserket.Graph(mixture, seed=0)
    made.fit(1, verbose=0)
    return made.predict(REAL)


def labeled(made, value):
    made["gmm"].labels = value
    made.fit(1, verbose=0)
    return made.history.history.get("gmm/accuracy", [0.0])[-1]


def weighted(made, value):
    weights = made.get_weights()
    weights[6] = value  # the means
    made.set_weights(weights)
    return made.get_weights()


def nothing():
    return None


SILENT = {"verbose": 0}
FIT = {"epochs": 2, "verbose": 0}
TRAIN = {"epochs": 1, "batch_size": N, "verbose": 0}
ROWS = ("one row", "one row less", "one row more")
MASKED_ROWS = ("NaN row", "all NaN", "masked rows")  # of what was not observed
LARGE = ("1e40", "1e200", "times 1e200", "1e308")  # if what comes of them is finite
ANY_REAL = ("negative", "all negative", "zero", "zero row", "times 255", *LARGE)
ANY_SHAPE = (
    *ROWS,
    *("one column less", "one column more", "transposed", "leading axis", "3-d", "a column"),
    *("tuple of two", "list of two"),
)
NUMBER = ("0-d", "a number", "an int")  # one for all
NO_ROWS = ("no rows", "no columns", "list of an empty list")
WEIGHTINGS = ("None", "zero", "zero row", "times 255", *LARGE)
UNSURE = ("None", "zero", "zero row", "inf", "float16 inf", "times 255", *LARGE)  # variances
UNSEEN = (  # which pictures leave out
    *("NaN", "NaN last", "inf", "-inf", "float16 inf", "list with NaN", "float32 NaN"),
    *("tf.Tensor NaN", "pandas NaN", "polars NaN", "memory map NaN", "pandas nullable NA"),
    *("polars null", *MASKED_ROWS),
)
TEXTS = (
    *("strings", "numeric strings", "numeric bytes", "list of numeric strings"),
    *("numeric strings as objects", "pandas strings", "polars strings"),
)
CLASSES = (*ANY_REAL, *TEXTS, "3-d")  # labels may be any numbers or strings, also (N, 1)


def mixture_doors():
    room, model = "mixture", "GaussianMixture"
    x = ("`x`", model, "Inputs must be x")
    takes = (*ANY_REAL, *ROWS, "tf.data")
    widths = (*takes, "one column less", "one column more", "transposed", "a column")
    for name in ("predict", "score_samples", "log_likelihood", "statistics", "lower_bound"):
        yield Door(room, f"{name}(x)", REAL, fitted_mixture, call(name), x, takes)
    powers = functools.partial(fitted_mixture, power_transform=True)
    yield Door(room, "power_transform predict(x)", REAL, powers, call("predict"), x, takes)
    yield Door(room, "fit(x)", REAL, new_mixture, learned(call("fit", **FIT)), x, widths)
    gibbs = functools.partial(kserket.GaussianMixture, 2, inference="gibbs", seed=0, n_init=1)
    yield Door(room, "gibbs fit(x)", REAL, gibbs, learned(call("fit", **FIT)), x, widths)
    yield Door(
        room,
        "partial_fit(x)",
        REAL,
        fitted_mixture,
        learned(call("partial_fit")),
        x,
        takes,
    )
    for method, fixed in (("fit", FIT), ("predict", {}), ("score_samples", {}), ("statistics", {})):
        make = new_mixture if method == "fit" else fitted_mixture
        for name, base in (("variance", POSITIVE), ("class_prior", PROBS)):
            run = entry(method, name, REAL, **fixed)
            run = learned(run) if method == "fit" else run
            takes = UNSURE if name == "variance" else ("None",)
            yield Door(room, f"{method}({name}=)", base, make, run, (f"`{name}`",), takes)
    run, prior = named("score_samples", "class_prior", REAL), ("`class_prior`",)
    yield Door(room, "score_samples(class_prior)", PROBS, fitted_mixture, run, prior, ("None",))
    run = entry("log_likelihood", "variance", REAL)
    variance = ("`variance`",)
    yield Door(room, "log_likelihood(variance)", POSITIVE, fitted_mixture, run, variance, UNSURE)
    for method, fixed in (
        ("fit", FIT),
        ("partial_fit", {}),
        ("statistics", {}),
        ("lower_bound", {}),
    ):
        make = new_mixture if method == "fit" else fitted_mixture
        run = named(method, "sample_weight", REAL, **fixed)
        run = learned(run) if "fit" in method else run
        yield Door(
            room, f"{method}(sample_weight)", WEIGHTS, make, run, ("`sample_weight`",), WEIGHTINGS
        )
    yield Door(
        room,
        "predict(Gaussian)",
        REAL,
        fitted_mixture,
        lambda model, value: model.predict(kserket.Gaussian(value, POSITIVE)),
        ("mean", "Gaussian"),
        ANY_REAL,
    )
    yield Door(
        room,
        "sample(component)",
        LABELS,
        fitted_mixture,
        lambda model, value: model.sample(N, component=value, seed=0),
        ("`component`",),
        ("None",),
    )


def chain_doors():
    missing = (*ROWS, *MASKED_ROWS, "tf.data")
    room, x = "chain", ("`x`", "MarkovChain", "Inputs must be x", "x needs")
    new = functools.partial(kserket.MarkovChain, 2, seed=0, n_init=1)
    for name in ("predict", "smooth", "log_likelihood", "most_likely_path", "statistics"):
        yield Door(room, f"{name}(x)", PROBS, fitted_chain, call(name), x, missing)
    yield Door(room, "fit(x)", PROBS, new, learned(call("fit", **FIT)), x, missing)
    yield Door(
        room, "sample_paths(x)", PROBS, fitted_chain, call("sample_paths", seed=0), x, missing
    )
    run, prior = entry("predict", "class_prior", PROBS), ("`class_prior`",)
    yield Door(room, "predict(class_prior=)", PROBS, fitted_chain, run, prior, ("None",))
    run = learned(entry("fit", "class_prior", PROBS, **FIT))
    yield Door(room, "fit(class_prior=)", PROBS, new, run, prior, ("None",))
    lengths = np.array([4.0, 8.0])
    for name in ("predict", "fit", "log_likelihood", "most_likely_path"):
        make = new if name == "fit" else fitted_chain
        run = named(name, "lengths", PROBS, **(FIT if name == "fit" else {}))
        run = learned(run) if name == "fit" else run
        yield Door(room, f"{name}(lengths)", lengths, make, run, ("`lengths`",), ("None",))
    yield Door(
        room,
        "sample(lengths)",
        lengths,
        fitted_chain,
        lambda model, value: model.sample(lengths=value, seed=0),
        ("`lengths`",),
        ("one column less", "one column more", "times 255", *ROWS),
    )


def topic_doors():
    room, x = (
        "mlda",
        ("`x`", "MultimodalLDA", "multimodal_lda", "Inputs must be x", "Every modality"),
    )

    def perplexity(model, value):
        return np.nan_to_num(model.perplexity(value))  # NaN without a word

    rows = (*ROWS, "zero row", "zero", "times 255", *LARGE)
    missing = (*MASKED_ROWS, *rows, "tf.data")
    widths = (*missing, *ANY_SHAPE)
    new = functools.partial(kserket.MultimodalLDA, 2, seed=0, n_init=1)
    for name in ("predict", "beliefs", "log_likelihood", "statistics"):
        yield Door(room, f"{name}(x)", COUNTS, fitted_lda, call(name), x, missing)
    yield Door(room, "perplexity(x)", COUNTS, fitted_lda, perplexity, x, missing)
    mixed = functools.partial(fitted_lda, alpha=0.5)
    yield Door(room, "mixed predict(x)", COUNTS, mixed, call("predict"), x, missing)
    run = call("predict_modality", modality=0)
    yield Door(room, "predict_modality(x)", COUNTS, fitted_lda, run, x, missing)
    yield Door(room, "fit(x)", COUNTS, new, learned(call("fit", **FIT)), x, widths)
    gibbs = functools.partial(new, inference="gibbs")
    yield Door(room, "gibbs fit(x)", COUNTS, gibbs, learned(call("fit", **FIT)), x, widths)
    yield Door(room, "partial_fit(x)", COUNTS, fitted_lda, learned(call("partial_fit")), x, missing)
    yield Door(
        room,
        "fit([x, other])",
        COUNTS,
        new,
        learned(lambda model, value: model.fit([value, COUNTS[:, :3]], **FIT)),
        x,
        widths,
    )
    run = named("perplexity", "given", COUNTS)
    yield Door(
        room,
        "perplexity(given)",
        COUNTS,
        fitted_lda,
        run,
        ("`given`", *x),
        ("None", *missing),
    )
    for name in ("predict", "fit"):
        make = new if name == "fit" else fitted_lda
        run = entry(name, "class_prior", COUNTS, **(FIT if name == "fit" else {}))
        run = learned(run) if name == "fit" else run
        yield Door(room, f"{name}(class_prior=)", PROBS, make, run, ("`class_prior`",), ("None",))
    yield Door(
        room,
        "sample(topic)",
        LABELS,
        fitted_lda,
        lambda model, value: model.sample(N, topic=value, seed=0),
        ("`topic`",),
        ("None",),
    )


def vae_doors():
    room, x = "vae", ("`x`", "VariationalAutoencoder", "Inputs must be", "`mu`")  # [x, mu]
    z = REAL / 4
    rows = ("zero", "zero row", "tf.data", *ROWS)
    yield Door(room, "encode(x)", UNIT, new_vae, call("encode"), x, rows)
    yield Door(room, "predict(x)", UNIT, new_vae, call("predict", **SILENT), x, rows)
    yield Door(room, "evaluate(x)", UNIT, new_vae, call("evaluate", **SILENT), x, rows)
    yield Door(room, "bound(x)", UNIT, new_vae, call("bound", seed=0), x, rows)
    yield Door(room, "fit(x)", UNIT, new_vae, learned(call("fit", **TRAIN)), x, rows)
    gaussian = functools.partial(new_vae, "gaussian")
    weights = (*WEIGHTINGS, "a column", "3-d")  # (N, 1)
    run = learned(call("fit", **TRAIN))
    yield Door(room, "gaussian fit(x)", UNIT, gaussian, run, x, (*rows, *ANY_REAL))
    run = call("encode")
    yield Door(room, "gaussian encode(x)", UNIT, gaussian, run, x, (*rows, *ANY_REAL))
    yield Door(room, "decode(z)", z, new_vae, call("decode"), ("`z`",), (*rows, *ANY_REAL))
    for method, fixed in (("fit", TRAIN), ("evaluate", SILENT)):
        for name, base in (("mu", z), ("mu_variance", POSITIVE)):
            run = entry(method, name, UNIT, **fixed)
            run = learned(run) if method == "fit" else run
            takes = ("None", "tf.data", *(ANY_REAL if name == "mu" else ("times 255",)))
            yield Door(room, f"{method}({name}=)", base, new_vae, run, (f"`{name}`",), takes)
        run = named(method, "sample_weight", UNIT, **fixed)
        run = learned(run) if method == "fit" else run
        yield Door(
            room, f"{method}(sample_weight)", WEIGHTS, new_vae, run, ("sample_weight",), weights
        )
    run = learned(named("fit", "validation_data", UNIT, **TRAIN))
    takes = (*rows, "None", "tuple of two", "list of two")  # y may be x
    yield Door(room, "fit(validation_data)", UNIT, new_vae, run, ("validation_data",), takes)
    for name, base in (("mu", z), ("mu_variance", POSITIVE)):
        takes = ("None", "tf.data", *(ANY_REAL if name == "mu" else ("times 255",)))
        run = named("bound", name, UNIT, seed=0)
        yield Door(room, f"bound({name})", base, new_vae, run, (f"`{name}`",), takes)
        run, takes = named("sample", name, N, seed=0), (*takes, "one row", *NUMBER)
        yield Door(room, f"sample({name})", base, new_vae, run, (f"`{name}`",), takes)
    noise = np.array([z, -z])
    takes = ("None", *ANY_REAL, *ROWS, "transposed")  # any number of draws
    run = named("bound", "noise", UNIT)
    yield Door(room, "bound(noise)", noise, new_vae, run, ("`noise`",), takes)
    obs = ("obs", *x)
    yield Door(room, "graph.predict(x)", UNIT, vae_graph, call("predict"), obs, rows + MASKED_ROWS)


def common_doors():
    room, obs = "doors", ("obs",)
    takes = ANY_REAL + ROWS
    missing = (*takes, *MASKED_ROWS, "tf.data")
    data = (*takes, *ANY_SHAPE, "tf.data")
    yield Door(
        room,
        "Observation(data)",
        REAL,
        nothing,
        lambda _, value: kserket.Observation(value).data,
        obs,
        data,
    )
    yield Door(room, "set_data(data)", REAL, observation, observed, obs, data)
    yield Door(
        room,
        "Observation, fit",
        REAL,
        nothing,
        lambda _, x: trained_on(x),
        (*obs, "gmm"),
        (*takes, "tf.data"),
    )

    def forward(made, value):
        made.set_forward_msg(value)
        return np.nan_to_num(made.get_forward_msg())  # NaN: rows that are missing

    def backward(made, value):
        made.set_backward_msg(value)
        return np.asarray(made.get_backward_msg())

    free = ("free", "message")
    messages = (*data, "NaN row", "all NaN", "1-d", "masked rows")
    yield Door(room, "set_forward_msg(message)", REAL, module, forward, free, messages)
    down = ("gmm", "message")
    yield Door(room, "set_backward_msg(message)", PROBS, heard_module, backward, down, ("None",))
    probs = ("`probs`", "Categorical", "robabilities")
    yield Door(
        room,
        "Categorical(probs)",
        PROBS,
        nothing,
        lambda _, value: kserket.Categorical(value).log_probs,
        probs,
        (*ROWS, "no rows"),
    )
    logs = ("`log_probs`", "Categorical", "robabilities")
    takes_logs = (*takes, "-inf", "one column less", "one column more", "transposed", "a column")
    takes_logs += ("no rows",)
    yield Door(
        room,
        "Categorical.from_log(log_probs)",
        REAL,
        nothing,
        lambda _, value: kserket.Categorical.from_log(value).probs,
        logs,
        takes_logs,
    )
    yield Door(
        room,
        "Categorical(missing)",
        LABELS,
        nothing,
        lambda _, value: kserket.Categorical(PROBS, missing=value).missing,
        ("`missing`",),
        ("None", "zero", "zero row"),
    )
    mean = ("`mean`", "Gaussian")

    def precision(_, value):
        variance = kserket.Gaussian(REAL, value).variance
        return np.zeros(2) if variance is None else 1 / np.asarray(variance, float)

    yield Door(
        room,
        "Gaussian(mean)",
        REAL,
        nothing,
        lambda _, value: kserket.Gaussian(value).mean,
        mean,
        (*takes, *NO_ROWS, "one column less", "one column more", "transposed", "a column"),
    )
    yield Door(
        room,
        "Gaussian(variance)",
        POSITIVE,
        nothing,
        precision,
        ("ariance",),
        UNSURE,
    )
    means, covariances = REAL[[0, 6]], np.array([np.eye(2), 2 * np.eye(2)])
    yield Door(
        room,
        "Mixture(responsibilities)",
        PROBS,
        nothing,
        lambda _, value: kserket.Mixture(value, means, covariances).array,
        ("`responsibilities`", "Mix"),
        (*ROWS, "no rows"),
    )
    yield Door(
        room,
        "Mixture(means)",
        means,
        nothing,
        lambda _, value: kserket.Mixture(PROBS, value, covariances).array,
        ("`means`", "Mixture"),
        (*ANY_REAL, "transposed"),
    )
    yield Door(
        room,
        "Mixture(covariances)",
        covariances,
        nothing,
        lambda _, value: kserket.Mixture(PROBS, means, value).covariances,
        ("`covariances`", "Mix"),
        (*LARGE, "times 255", "zero", "zero row"),
    )

    yield Door(room, "graph.predict(x)", REAL, graph, call("predict"), obs, missing)
    yield Door(
        room,
        "graph.predict({obs})",
        REAL,
        graph,
        lambda made, value: made.predict({"obs": value}),
        obs,
        missing,
    )
    yield Door(room, "graph.evaluate(x)", REAL, graph, call("evaluate"), (*obs, "gmm"), missing)
    yield Door(
        room,
        "graph.evaluate(y_true)",
        LABELS,
        graph,
        lambda made, value: made.evaluate(REAL, value).get("gmm/accuracy", 0.0),
        ("`y_true`", "y_true"),
        ("None", *CLASSES),
    )
    yield Door(
        room,
        "module.labels",
        LABELS,
        graph,
        labeled,
        ("`category`", "label"),
        ("None", "a column", *CLASSES),
    )
    yield Door(
        room,
        "graph.set_weights(weights)",
        REAL[[0, 6]],
        graph,
        weighted,
        ("weight", "gmm"),
        ANY_REAL + ("transposed",),
    )
    yield Door(
        room,
        "tower.predict({w})",
        COUNTS,
        tower,
        lambda made, value: made.predict({"x": REAL, "w": value}),
        ("w ", "'w'", "mlda"),
        ("None", "zero", "zero row", "times 255", "tf.data", *MASKED_ROWS, *LARGE),
    )
    yield Door(
        room,
        "tower.predict({x})",
        REAL,
        tower,
        lambda made, value: made.predict({"x": value, "w": COUNTS}),
        ("x",),
        ("None", *missing),
    )

    images = (*takes, *ANY_SHAPE, "no rows")
    for name, function in (
        ("deskew", kserket.preprocessing.deskew),
        ("oriented_gradients", kserket.preprocessing.oriented_gradients),
    ):
        yield Door(
            room, f"{name}(images)", IMAGES, nothing, applied(function), ("images", name), images
        )
    for name in ("clustering_accuracy", "confusion_matrix", "adjusted_rand_index", "match_labels"):
        function = getattr(kserket.metrics, name)
        run = applied(function, LABELS)
        yield Door(room, f"{name}(y_pred)", LABELS, nothing, run, ("y_pred", "y_true"), CLASSES)
        run = applied(function, y_pred=LABELS)
        yield Door(room, f"{name}(y_true)", LABELS, nothing, run, ("y_pred", "y_true"), CLASSES)


def plot_doors():
    room, plots = "doors", kserket.plotting
    z = ("`z`", "plot_latent")
    yield Door(
        room,
        "plot_latent(z)",
        REAL,
        nothing,
        plotted(plots.plot_latent),
        z,
        (*ANY_REAL, *ROWS, *UNSEEN, "one column more", "transposed"),
    )
    run = plotted(plots.plot_latent, "labels", REAL)
    yield Door(
        room, "plot_latent(labels)", LABELS, nothing, run, ("`labels`", "label"), ("None", *CLASSES)
    )
    run = plotted(plots.plot_latent, "means", REAL)
    yield Door(
        room,
        "plot_latent(means)",
        REAL[:3],
        nothing,
        run,
        ("`means`",),
        ("None", "no rows", *ANY_REAL, *ROWS),
    )
    run = plotted(plots.plot_active_units)
    vectors = (*ANY_REAL, *ROWS, "one column less", "one column more")
    yield Door(room, "plot_active_units", WEIGHTS, nothing, run, ("`kl_per_dim`", "KL"), vectors)
    run = plotted(plots.plot_generated)
    yield Door(
        room,
        "plot_generated(images)",
        IMAGES.reshape(2, 2, 64),
        nothing,
        run,
        ("`images`", "image"),
        (*ANY_REAL, *UNSEEN, *ANY_SHAPE),
    )
    run = plotted(plots.plot_reconstructions, "x_hat", IMAGES)
    yield Door(
        room,
        "plot_reconstructions(x_hat)",
        IMAGES,
        nothing,
        run,
        ("`x_hat`", "image", "data"),
        ANY_REAL + UNSEEN,
    )
    run = plotted(plots.plot_confusion, "y_pred", LABELS)
    yield Door(
        room,
        "plot_confusion(y_pred)",
        LABELS,
        nothing,
        run,
        ("y_pred", "y_true", "labels"),
        CLASSES,
    )


def sklearn_doors():
    room, x = "doors", ("X", "Graph", "gmm", "GaussianMixture")
    takes = (*ANY_REAL, *ROWS)

    def mixture():
        return estimators.GaussianMixture(2, random_state=0, n_init=1, max_iter=3).fit(REAL)

    def clusterer():
        return estimators.GraphClusterer(n_clusters=2, rounds=1, random_state=0).fit(REAL)

    for name, make in (("GaussianMixture", mixture), ("GraphClusterer", clusterer)):
        methods = {"fit": lambda made, x: made.fit(x).predict(REAL)}
        methods |= {method: call(method) for method in ("predict", "predict_proba", "score")}
        for method, run in methods.items():
            yield Door(room, f"sklearn {name}.{method}(X)", REAL, make, run, x, (*takes, *TEXTS))


def all_doors():
    """Every door, rooms in turn."""
    for doors in (
        mixture_doors,
        chain_doors,
        topic_doors,
        vae_doors,
        common_doors,
        plot_doors,
        sklearn_doors,
    ):
        yield from doors()
