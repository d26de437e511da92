"""What every module promises, whatever its family. A new module is one more entry in CONFIGS."""

import importlib.util
import inspect
import pathlib
import re
import shutil
from typing import NamedTuple

import keras
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import kserket as srk
from kserket import gmm, mlda, mm, mnvae, nn, tt, vae
from kserket.core.module import Module

N = 24


class Halves(srk.LearningModule):
    """The least that a module of one's own needs: two classes along the widest direction."""

    def __init__(self, name="halves", mode="learn", **options):
        super().__init__(name, mode, **options)

    def check(self, inputs, prior):
        if prior is not None and np.shape(prior)[1:] != (2,):
            raise ValueError(f"{self.get_name()} needs (N, 2). Received: {np.shape(prior)}")

    def build_model(self, inputs):
        features = np.shape(inputs[0])[1]
        return keras.Sequential([keras.Input((features,)), keras.layers.Dense(2, name="direction")])

    def learn(self, inputs, prior, rng):
        x = np.asarray(inputs[0], "float32")
        x = x[~np.isnan(x).any(axis=1)]
        direction = np.linalg.svd(x - x.mean(axis=0))[2][0]
        kernel = 10 * np.stack([direction, -direction], axis=1)
        self.model.set_weights([kernel, -x.mean(axis=0) @ kernel])
        return {"spread": float((x @ direction).std())}

    def infer(self, inputs, prior):
        x = np.asarray(inputs[0], "float32")
        missing = np.isnan(x).any(axis=1)
        logits = self.model(np.nan_to_num(x)).numpy()
        evidence = srk.Categorical.from_log(logits, missing)
        posterior = srk.core.messages.product([evidence, prior])
        return srk.Inference(evidence, [np.nan_to_num(x)], posterior)

    def text_files(self, inference):
        return {"Pdz_{mode}.txt": inference.posterior.probs}


def load_example(name):
    """A file of examples/ as a module."""
    path = pathlib.Path(__file__).parent.parent / "examples" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    return example


PoissonMixture = load_example("poisson_family").PoissonMixture


class Config(NamedTuple):
    """A module to hold to the contract.

    Attributes:
        make: Called with `mode`, `save_dir`, `load_dir`, `seed`; returns a small quick module.
        inputs: Called with a number of samples; returns one array or message per input.
        prior: Called with a number of samples; returns a message that may come from above.
        files: Names of the files that learning writes.
        links_samples: Whether a sample that was not observed is inferred from the others.
    """

    make: object
    inputs: object
    prior: object
    files: set
    links_samples: bool = False


def vectors(num_samples):
    rng = np.random.default_rng(num_samples)
    classes = np.arange(num_samples) % 2
    return [np.clip(0.3 + 0.4 * classes[:, None] + 0.05 * rng.normal(size=(num_samples, 3)), 0, 1)]


def probabilities(num_samples):
    return srk.Categorical(np.random.default_rng(1).dirichlet(np.ones(2), num_samples))


def documents(num_samples):
    """Counts of words, and class probabilities from below."""
    rng = np.random.default_rng(num_samples)
    classes = np.arange(num_samples) % 2
    counts = rng.poisson(1 + 4.0 * np.eye(2)[classes].repeat(3, axis=1)) + np.eye(6)[classes]
    return [counts, srk.Categorical(0.1 + 0.7 * np.eye(3)[classes])]


def classes_and_targets(num_samples):
    """Class probabilities of a classifier, and targets that go with them."""
    rng = np.random.default_rng(num_samples)
    classes = np.arange(num_samples) % 2
    targets = np.array([[0.0, 1.0, 2.0], [3.0, 1.5, 0.0]])[classes]
    sure = srk.Categorical(0.2 + 0.6 * np.eye(2)[classes])
    return [sure, targets + 0.1 * rng.normal(size=(num_samples, 3))]


def experts(num_samples):
    """Class probabilities from two modules that number the classes differently."""
    rng = np.random.default_rng(num_samples)
    classes = np.arange(num_samples) % 2
    sure = 0.1 + 0.8 * np.eye(2)[classes]
    noise = rng.uniform(-0.05, 0.05, size=(2, num_samples, 1)) * np.array([1, -1])
    return [srk.Categorical(sure + noise[0]), srk.Categorical(1 - sure + noise[1])]


TOPIC_FILES = {
    *("parameters.h5", "Pdz_learn.txt", "categories_learn.txt"),
    *("Pmdw[0]_learn.txt", "Pmdw[1]_learn.txt"),
}

SMALL_MNVAE = {"itr": 15, "batch_size": 7, "KL_param": 0.02}
SMALL_MNVAE |= {"learning_rate": 0.05, "weight_stddev": 0.5}
MNVAE_FILES = {
    *("model.ckpt.index", "model.ckpt.data-00000-of-00001"),
    *("loss.txt", "x_hat_learn.txt", "z_learn.txt", "Pdz_learn.txt"),
}


CONFIGS = {
    "vae": Config(
        lambda **options: vae.VAE(2, itr=15, batch_size=7, KL_param=0.02, **options),
        vectors,
        lambda n: np.random.default_rng(1).normal(size=(n, 2)),
        {
            *("model.ckpt.index", "model.ckpt.data-00000-of-00001"),
            *("loss.txt", "x_hat_learn.txt", "z_learn.txt"),
        },
    ),
    "mnvae": Config(
        lambda **options: mnvae.MNVAE(2, 10, **SMALL_MNVAE, **options),
        vectors,
        probabilities,
        MNVAE_FILES,
    ),
    "mnvae of one draw": Config(
        lambda **options: mnvae.MNVAE(2, **SMALL_MNVAE, **options),
        vectors,
        probabilities,
        MNVAE_FILES,
    ),
    "gmm": Config(
        lambda **options: gmm.GMM(2, itr=10, n_init=2, **options),
        vectors,
        probabilities,
        {"parameters.h5", "Pdz_learn.txt", "class_learn.txt", "mu_learn.txt"},
    ),
    "gmm with powers": Config(
        lambda **options: gmm.GMM(2, itr=10, n_init=2, power_transform=True, **options),
        vectors,
        probabilities,
        {"parameters.h5", "Pdz_learn.txt", "class_learn.txt", "mu_learn.txt"},
    ),
    "gmm that finds K": Config(
        lambda **options: gmm.GMM(None, itr=10, n_init=2, **options),
        vectors,
        probabilities,
        {"parameters.h5", "Pdz_learn.txt", "class_learn.txt", "mu_learn.txt"},
    ),
    "gmm by sampling": Config(
        lambda **options: gmm.GMM(2, itr=4, inference="gibbs", **options),
        vectors,
        probabilities,
        {"parameters.h5", "Pdz_learn.txt", "class_learn.txt", "mu_learn.txt"},
    ),
    "markov model": Config(
        lambda **options: mm.MarkovModel(itr=10, n_init=2, **options),
        lambda n: [probabilities(n)],
        probabilities,
        {"parameters.h5", "msg_learn.txt", "trans_prob_learn.txt"},
        links_samples=True,
    ),
    "markov model by sampling": Config(
        lambda **options: mm.MarkovModel(5, inference="sampled", itr=4, n_init=2, **options),
        lambda n: [probabilities(n)],
        probabilities,
        {"parameters.h5", "msg_learn.txt", "trans_prob_learn.txt"},
        links_samples=True,
    ),
    "mlda": Config(
        lambda **options: mlda.MLDA(2, itr=10, n_init=2, **options),
        documents,
        probabilities,
        TOPIC_FILES,
    ),
    "mlda that finds K": Config(
        lambda **options: mlda.MLDA(None, itr=10, n_init=2, **options),
        documents,
        probabilities,
        TOPIC_FILES,
    ),
    "mlda of mixed documents": Config(
        lambda **options: mlda.MLDA(2, [30, 10], itr=10, n_init=2, alpha=0.2, **options),
        documents,
        probabilities,
        TOPIC_FILES,
    ),
    "mlda by sampling": Config(
        lambda **options: mlda.MLDA(2, [30, 10], itr=4, inference="gibbs", **options),
        documents,
        probabilities,
        TOPIC_FILES,
    ),
    "tail to tail": Config(
        lambda **options: tt.TtoT(**options),
        experts,
        probabilities,
        {"parameters.h5", "Pdz_learn.txt", "class_learn.txt"},
    ),
    "naming game": Config(
        lambda **options: tt.NamingGame(itr=3, **options),
        experts,
        probabilities,
        {"parameters.h5", "Pdz_learn.txt", "class_learn.txt", "signs_learn.txt"},
    ),
    "head": Config(
        lambda **options: nn.NN(30, 20, batch_size1=7, **options),
        classes_and_targets,
        probabilities,
        {"parameters.h5", "loss.txt", "message_learn.txt", "Pdz_learn.txt"},
    ),
    "after the template": Config(
        lambda **options: PoissonMixture(2, itr=5, **options),
        lambda n: documents(n)[:1],
        probabilities,
        {"parameters.h5", "Pdz_learn.txt"},
    ),
    "of one's own": Config(Halves, vectors, probabilities, {"parameters.h5", "Pdz_learn.txt"}),
}


ONE_A_MODULE = {"loss.txt", "trans_prob_learn.txt"}  # the others hold one row per sample


class Source(srk.Module):
    """Stands below the module under test and sends whatever it is told to."""

    def __init__(self, message):
        super().__init__("source", learnable=False)
        self.set_forward_msg(message)


def connected(config, inputs=None, **options):
    """A new module above sources that send `inputs`."""
    Module.reset_names()
    inputs = config.inputs(N) if inputs is None else inputs
    sources = [Source(message) for message in inputs]
    module = config.make(**({"seed": 0} | options))
    module.connect(*sources)
    return module, sources


class Learned(NamedTuple):
    config: Config
    module: srk.LearningModule
    sources: list
    save_dir: object
    forward: np.ndarray


@pytest.fixture(scope="module", params=CONFIGS)
def learned(request, tmp_path_factory):
    """A module after two updates."""
    config, save_dir = CONFIGS[request.param], tmp_path_factory.mktemp("results")
    module, sources = connected(config, save_dir=save_dir)
    module.update()
    module.update()
    return Learned(config, module, sources, save_dir, np.array(module.get_forward_msg()))


@pytest.fixture(params=CONFIGS)
def config(request):
    return CONFIGS[request.param]


def spoken(message):
    """What a message holds, but for rows of NaN by which an array says nothing."""
    array = np.asarray(message)
    silent = None if isinstance(message, srk.core.messages.Message) else srk.missing_rows(array)
    return array if silent is None else array[~silent]


def contents(folder):
    """Every file below a folder, with what it holds."""
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def parameters(module):
    return {name: np.array(value) for name, value in module.get_parameters().items()}


def test_messages_hold_one_row_per_sample_and_return_in_the_shape_they_came(learned):
    forward = learned.module.get_forward_msg()
    assert len(forward) == N and np.isfinite(np.asarray(forward)).all()
    for source, message in zip(learned.sources, learned.config.inputs(N), strict=True):
        back = source.get_backward_msg()
        assert back is None or (np.shape(back) == np.shape(message) and np.isfinite(back).all())
    if learned.module.posterior is not None:
        assert learned.module.posterior.shape == np.shape(forward)
        assert_allclose(learned.module.posterior.sum(axis=1), 1.0)


def test_what_learning_tells(learned):
    logs = learned.module.logs
    assert len(logs) >= 2 and np.isfinite(list(logs.values())).all()
    assert learned.module.rounds == 2 and learned.module.learnable


def test_files(learned):
    (folder,) = learned.save_dir.iterdir()
    number = len(learned.sources)
    assert folder.name == learned.module.get_name() == f"module{number:03d}_{learned.module.name}"
    assert set(contents(folder)) == learned.config.files
    for path in folder.glob("*.txt"):
        assert np.isfinite(np.loadtxt(path)).all()
        if path.name not in ONE_A_MODULE:
            assert len(np.loadtxt(path)) == N


def test_recognition_gives_the_same_answer_and_takes_data_of_any_length(learned):
    before = contents(learned.save_dir)
    module, sources = connected(learned.config, mode="recog", save_dir=learned.save_dir, seed=None)
    assert not module.learnable
    module.update()
    assert_allclose(np.asarray(module.get_forward_msg()), learned.forward, rtol=1e-6, atol=1e-7)
    after = contents(learned.save_dir)
    assert {name: after[name] for name in before} == before  # what was learned is untouched
    texts = {name for name in before if "_learn" in name and name not in ONE_A_MODULE}
    texts = {name.replace("_learn", "_recog") for name in texts}
    assert set(after) == set(before) | texts
    for name in texts:
        (learned.save_dir / module.get_name() / name).unlink()
    for num_samples in (1, 41):
        inputs = learned.config.inputs(num_samples)
        module, _ = connected(
            learned.config,
            inputs,
            mode="recog",
            save_dir=None,
            load_dir=learned.save_dir / learned.module.get_name(),
        )
        module.update()
        assert len(module.get_forward_msg()) == num_samples


def test_parameters_of_another_module_are_refused(learned, tmp_path):
    class Other(type(learned.module)):
        """Another class."""

    folder = learned.save_dir / learned.module.get_name()
    other, _ = connected(learned.config, mode="recog", load_dir=folder, save_dir=None)
    other.__class__ = Other
    with pytest.raises(ValueError, match="module="):
        other.update()
    assert other.get_forward_msg() is None and other.model is None
    wide = [np.hstack([array, array]) / 2 for array in learned.config.inputs(N)]
    narrow, _ = connected(learned.config, wide, mode="recog", load_dir=folder, save_dir=None)
    with pytest.raises(ValueError, match="input_shapes"):
        narrow.update()


def test_recognition_needs_something_learned(config, tmp_path):
    module, _ = connected(config, mode="recog", save_dir=tmp_path)
    with pytest.raises(FileNotFoundError, match="learned nothing.*mode='learn'.*load_dir="):
        module.update()
    assert module.get_forward_msg() is None and not contents(tmp_path)


@pytest.mark.parametrize("mode", ["learn", "recog"])
def test_without_a_folder_none_is_read(learned, tmp_path, monkeypatch, mode):
    monkeypatch.chdir(tmp_path)
    module, _ = connected(learned.config, mode=mode, save_dir=None)
    module.trainable = False
    shutil.copytree(learned.save_dir / learned.module.get_name(), module.get_name())
    said = "neither save_dir nor load_dir.*mode='learn'.*load_dir="
    with pytest.raises(FileNotFoundError, match=said) as error:
        module.update()
    assert ("trainable=True" in str(error.value)) == (mode == "learn")
    assert module.model is None and module.get_forward_msg() is None


def test_damaged_parameters_are_refused(learned, tmp_path):
    folder = tmp_path / learned.module.get_name()
    folder.mkdir()
    for name, content in contents(learned.save_dir).items():
        is_text = name.endswith(".txt")
        (folder / name).write_bytes(content if is_text else content[: len(content) - 100])
    module, _ = connected(learned.config, mode="recog", save_dir=tmp_path)
    with pytest.raises(ValueError, match="Learn again, or restore"):
        module.update()
    assert module.get_forward_msg() is None


def test_learning_goes_on_from_what_was_loaded(learned):
    folder = learned.save_dir / learned.module.get_name()
    module, _ = connected(learned.config, load_dir=folder, save_dir=None)
    module.trainable = False
    module.update()
    assert_allclose(np.asarray(module.get_forward_msg()), learned.forward, rtol=1e-6, atol=1e-7)


def test_a_module_that_is_not_connected_says_so(config):
    module = config.make()
    with pytest.raises(RuntimeError, match=f"module.*_{module.name} has nothing to read"):
        module.update()


BAD = {
    "NaN": lambda x: np.where(np.arange(x.size).reshape(x.shape) == 5, np.nan, x),
    "infinity": lambda x: np.where(np.arange(x.size).reshape(x.shape) == 5, np.inf, x),
    "nothing": lambda x: x[:0],
    "fewer features": lambda x: x[:, :-1],
    "more features": lambda x: np.hstack([x, x]),
}


def test_bad_input_is_refused_and_what_was_learned_is_still_there(learned):
    module, sources = learned.module, learned.sources
    forward, rounds, arrays = module.get_forward_msg(), module.rounds, parameters(module)
    files = contents(learned.save_dir)
    good = [source.get_forward_msg() for source in sources]

    def check(expected):
        with pytest.raises(expected):
            module.update()
        assert module.get_forward_msg() is forward and module.rounds == rounds
        assert contents(learned.save_dir) == files
        for name, array in parameters(module).items():
            assert_array_equal(array, arrays[name])

    for source, message in zip(sources, good, strict=True):
        for name, spoil in BAD.items():
            width = np.shape(message)[1]
            if name == "more features" and module.takes_shape((width,), (2 * width,)):
                continue  # new words, which a topic model takes in
            source.mailbox.forward = spoil(np.asarray(message))  # set_forward_msg() would refuse it
            check((ValueError, TypeError))
        source.set_forward_msg(message)
    prior = np.asarray(learned.config.prior(N))
    module.mailbox.forward = None  # as before a first update: nothing to compare shapes with
    for bad in (prior[:-1], np.hstack([prior, prior]), np.full(prior.shape, np.nan)):
        module.set_backward_msg(bad)
        with pytest.raises(ValueError, match=module.name):
            module.update()
        module.set_backward_msg(None)
    module.mailbox.forward = forward
    with pytest.raises(ValueError, match="shape"):
        module.set_backward_msg(prior[:-1])
    assert module.get_backward_msg() is None and contents(learned.save_dir) == files


@pytest.mark.filterwarnings("ignore:Rows of modality")  # an observation of probabilities
def test_missing_rows_say_nothing(config):
    inputs = [np.array(message) for message in config.inputs(N)]
    for array in inputs:
        array[[2, 5]] = np.nan
    Module.reset_names()
    module = config.make(save_dir=None, seed=0)
    module.connect(*(srk.Observation(array, allow_missing=True) for array in inputs))
    module.update()
    forward = module.get_forward_msg()
    if not config.links_samples:
        assert_array_equal(np.flatnonzero(srk.missing_rows(forward)), [2, 5])
    assert np.isfinite(spoken(forward)).all()
    for source in module.inputs:
        back = source.get_backward_msg()
        assert back is None or np.isfinite(np.asarray(back)).all()
    prior = config.prior(N)
    module.set_backward_msg(prior)
    module.update()
    if module.posterior is not None:  # where nothing was seen, what came from above decides
        told = np.asarray(prior)[[2, 5]]
        if config.links_samples:  # and the other samples
            told = told * np.asarray(module.get_forward_msg())[[2, 5]]
            assert_allclose(source.get_backward_msg()[[2, 5]], module.posterior[[2, 5]])
        assert_allclose(module.posterior[[2, 5]], told / told.sum(axis=1)[:, None], rtol=1e-6)


@pytest.mark.filterwarnings("ignore:Rows of modality")  # an observation of probabilities
def test_without_an_observed_row_a_learned_module_infers_and_a_new_one_is_refused(config):
    inputs = [np.full(np.shape(message), np.nan) for message in config.inputs(N)]
    Module.reset_names()
    new, learned = config.make(save_dir=None, seed=0), config.make(save_dir=None, seed=0)
    new.connect(*(srk.Observation(array, allow_missing=True) for array in inputs))
    with pytest.raises(ValueError, match="reads missing rows only"):
        new.update()
    sources = [srk.Observation(np.array(x), allow_missing=True) for x in config.inputs(N)]
    learned.connect(*sources)
    learned.update()
    before = parameters(learned)
    for source, array in zip(sources, inputs, strict=True):
        source.set_data(array)
    learned.update()
    assert np.isfinite(spoken(learned.get_forward_msg())).all()
    for name, array in parameters(learned).items():
        assert_array_equal(array, before[name])


def test_one_seed_one_result_bit_for_bit_and_nothing_is_written(config, tmp_path):
    results = []
    for state in (1, 2):
        keras.utils.set_random_seed(state)  # does not matter where a seed is given
        module, _ = connected(config, save_dir=None)
        module.update()
        module.set_backward_msg(config.prior(N))
        module.update()
        results.append((np.array(module.get_forward_msg()), parameters(module)))
    assert not list(tmp_path.iterdir())
    assert_array_equal(results[0][0], results[1][0])
    for name, array in results[0][1].items():
        assert_array_equal(array, results[1][1][name])


def test_labels_score_and_change_nothing(config):
    """The same with other names for the classes, and the same without any labels."""
    module, _ = connected(config, save_dir=None)
    if "category" not in inspect.signature(type(module)).parameters:
        pytest.skip("This module does not classify.")
    module.update()
    forward, scores = np.array(module.get_forward_msg()), []
    for names in ([0, 1], [1, 0], ["left", "right"]):
        labeled, _ = connected(config, save_dir=None, category=np.array(names)[np.arange(N) % 2])
        labeled.update()
        assert_array_equal(np.array(labeled.get_forward_msg()), forward)
        scores.append([labeled.logs[name] for name in ("accuracy", "nmi", "ari")])
        assert {name: labeled.logs[name] for name in module.logs} == module.logs
    assert_allclose(scores[1:], [scores[0]] * 2)


def test_a_second_update_is_warm(config):
    """The model is neither made nor traced anew, also when a message comes from above."""
    module, _ = connected(config, save_dir=None)
    module.update()
    model, cache = module.model, getattr(module.model, "_resident_cache", None)
    traces = cache and cache["steps"].experimental_get_tracing_count()
    module.set_backward_msg(config.prior(N))
    module.update()
    assert module.model is model
    if cache:
        assert model._resident_cache is cache
        assert cache["steps"].experimental_get_tracing_count() == traces


def test_options_are_checked_when_the_module_is_made(config):
    for options in ({"mode": "lern"}, {"seed": -1}, {"seed": 0.5}, {"unknown": 1}):
        with pytest.raises((ValueError, TypeError), match=next(iter(options))):
            config.make(**options)


FAMILIES = [
    member
    for package in (vae, gmm, mm, mlda, nn)
    for member in vars(package).values()
    if inspect.isclass(member) and issubclass(member, srk.LearningModule)
]


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__)
def test_docstrings_have_every_section(family):
    text = inspect.getdoc(family)
    sections = re.findall(r"^(\w+):$", text, re.MULTILINE)
    wanted = ["Args", "Messages", "Files", "Raises", "Reference", "Example"]
    assert [section for section in sections if section in wanted] == wanted
    for name, parameter in inspect.signature(family).parameters.items():
        stars = "**" if parameter.kind is parameter.VAR_KEYWORD else ""
        assert f"\n    {stars}{name}: " in text.replace("\\*", "*"), name
