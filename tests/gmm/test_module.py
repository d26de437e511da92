"""`gmm.GMM` as documented: signature, files, messages, recognition."""

import inspect
import warnings

import numpy as np
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose, assert_array_equal

import kserket as srk
from kserket import gmm
from kserket.core import tensors
from kserket.core.module import Module

N, D, K = 60, 2, 3


def make_data(num_samples=N, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(num_samples) % 3.0
    centers = np.array([[0, 0], [5, 0], [0, 5]])
    return centers[labels.astype(int)] + rng.normal(size=(num_samples, D)), labels


def make(message=None, **options):
    options = {"itr": 20, "n_init": 3, "save_dir": None, "seed": 0} | options
    module = gmm.GMM(K, **options)
    module.connect(srk.Observation(make_data()[0]) if message is None else Source(message))
    return module


class Source(srk.Module):
    def __init__(self, message):
        super().__init__("source")
        self.set_forward_msg(message)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    Module.reset_names()
    folder = tmp_path_factory.mktemp("run")
    module = make(category=make_data()[1], save_dir=folder)
    module.update()
    return folder / "module000_gmm", module


def test_signature_is_the_documented_one():
    parameters = inspect.signature(gmm.GMM).parameters
    positional = [
        (name, parameter.default)
        for name, parameter in parameters.items()
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    ]
    assert positional == [
        ("K", inspect.Parameter.empty),
        ("itr", 100),
        ("name", "gmm"),
        ("category", None),
        ("mode", "learn"),
    ]
    assert {"save_dir", "load_dir", "seed"} < parameters.keys()


def test_files_hold_what_they_are_named_after(run):
    folder, module = run
    probs = np.loadtxt(folder / "Pdz_learn.txt")
    assert_allclose(probs, module.posterior, rtol=1e-10, atol=1e-12)
    assert probs.shape == (N, K)
    classes = np.loadtxt(folder / "class_learn.txt")
    assert_array_equal(classes, srk.metrics.match_labels(module.labels, probs.argmax(axis=1))[0])
    assert (classes == module.labels).mean() == module.logs["accuracy"]
    assert "." not in (folder / "class_learn.txt").read_text()
    mu = np.loadtxt(folder / "mu_learn.txt")
    assert_allclose(mu, probs @ module.model.means, rtol=1e-6, atol=1e-9)
    accuracy = float(np.loadtxt(folder / "acc_learn.txt"))
    assert accuracy == module.logs["accuracy"] > 0.9
    assert accuracy == srk.metrics.clustering_accuracy(make_data()[1], classes)
    names = {path.name for path in folder.iterdir()}
    assert names == {
        *("parameters.h5", "Pdz_learn.txt", "class_learn.txt", "mu_learn.txt", "acc_learn.txt")
    }


def test_the_documents_misprint_is_accepted_with_a_warning():
    with pytest.warns(UserWarning, match="category="):
        module = gmm.GMM(3, catogory=[0.0, 1.0])
    assert_array_equal(module.labels, [0, 1])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gmm.GMM(3, category=[0.0, 1.0])


def test_labels_score_and_change_nothing(run):
    folder, module = run
    without = make()
    without.update()
    assert_array_equal(without.posterior, module.posterior)
    assert "accuracy" not in without.logs


@pytest.mark.parametrize("kind", ["strings", "column", "reversed"])
def test_labels_of_any_kind(kind, run):
    labels = make_data()[1]
    labels = {
        "strings": np.array(["a", "b", "c"])[labels.astype(int)],
        "column": labels[:, None],
        "reversed": 7 - labels,
    }[kind]
    module = make(category=labels)
    module.update()
    assert module.logs["accuracy"] == run[1].logs["accuracy"]


@pytest.mark.parametrize(
    "labels, text",
    [(np.zeros((N, 2)), "one label per sample"), (np.full(N, np.nan), "NaN")],
)
def test_labels_that_are_none_are_refused(labels, text):
    with pytest.raises(ValueError, match=text):
        gmm.GMM(K, category=labels)


def test_labels_of_another_length_are_refused_before_learning():
    module = make(category=np.zeros(N - 1))
    with pytest.raises(ValueError, match="60 samples.*59 labels"):
        module.update()
    assert module.model is None


def test_what_comes_from_above_replaces_the_mixing_weights():
    module = make()
    module.update()
    module.trainable = False
    log_likelihood = module.model.component_log_likelihood(make_data()[0])
    prior = np.random.default_rng(0).dirichlet(np.ones(K), N)
    module.set_backward_msg(prior)
    module.update()
    likelihood = np.exp(log_likelihood)
    evidence = likelihood / likelihood.sum(axis=1, keepdims=True)
    assert_allclose(np.asarray(module.get_forward_msg()), evidence, rtol=1e-6)
    expected = likelihood * prior / (likelihood * prior).sum(axis=1, keepdims=True)
    assert_allclose(module.posterior, expected, rtol=1e-6)
    back = module.inputs[0].get_backward_msg()
    assert_allclose(np.asarray(back), expected @ module.model.means, rtol=1e-6)
    module.set_backward_msg(None)
    module.update()
    weighted = likelihood * np.exp(_expected_log_weights(module))
    assert_allclose(module.posterior, weighted / weighted.sum(axis=1, keepdims=True), rtol=1e-6)


def _expected_log_weights(module):
    from scipy.special import digamma

    concentration = module.model.state.weight_concentration
    return digamma(concentration) - digamma(concentration.sum())


def test_uncertainty_of_what_it_reads_is_used():
    x, _ = make_data()
    plain, uncertain = make(srk.Gaussian(x)), make(srk.Gaussian(x, np.full(x.shape, 0.7)))
    for module in (plain, uncertain):
        module.update()
    assert np.trace(uncertain.model.covariances.sum(0)) > np.trace(plain.model.covariances.sum(0))


def test_classes_keep_their_numbers_from_round_to_round():
    module = make()
    module.update()
    before = module.posterior.argmax(axis=1)
    for _ in range(3):
        module.update()
    assert (module.posterior.argmax(axis=1) == before).mean() > 0.97


@pytest.mark.parametrize("inference", ["variational", "gibbs"])
def test_a_start_under_a_message_from_above_takes_its_ids(inference):
    labels = make_data()[1].astype(int)
    meaning = np.array([1, 2, 0])[labels]
    module = make(inference=inference)
    module.set_backward_msg(np.full((N, K), 0.1) + 0.7 * np.eye(K)[meaning])
    module.update()
    assert (module.posterior.argmax(axis=1) == meaning).mean() > 0.95


def test_recognition_under_the_same_message_gives_the_same_answer(tmp_path):
    prior = np.random.default_rng(0).dirichlet(np.ones(K), N)
    answers = []
    for mode in ("learn", "recog"):
        Module.reset_names()
        module = make(mode=mode, save_dir=tmp_path)
        module.set_backward_msg(prior)
        module.update()
        answers.append((module.posterior, np.asarray(module.inputs[0].get_backward_msg())))
    assert_allclose(answers[0][0], answers[1][0], rtol=1e-9)
    assert_allclose(answers[0][1], answers[1][1], rtol=1e-9)  # recognition sends both ways


@pytest.mark.parametrize(
    "options, text",
    [
        ({"mode": "lern"}, "mode='lern'"),
        ({"itr": 0}, "itr"),
        ({"K": 0}, "`K`"),
        ({"inference": "em"}, "inference='em'"),
        ({"categories": [1]}, "categories"),
        ({"seed": -3}, "seed"),
    ],
)
def test_unknown_options_are_refused_at_once(options, text):
    with pytest.raises((ValueError, TypeError), match=text):
        gmm.GMM(**{"K": 2, **options})


def test_messages_that_do_not_fit():
    module = make()
    module.set_backward_msg(np.full((N, K + 1), 0.25))
    with pytest.raises(ValueError, match="module000_gmm needs class probabilities.*3 classes"):
        module.update()
    assert module.model is None
    module.set_backward_msg(None)
    module.update()
    with pytest.raises(ValueError, match="module000_gmm"):
        module.set_backward_msg(np.full((N, K), 0.5))
    images = gmm.GMM(K, save_dir=None)
    images.connect(srk.Observation(np.zeros((5, 4, 4))))
    with pytest.raises(ValueError, match=r"\(N, D\).*\(5, 4, 4\)"):
        images.update()


def rows(gaps):
    """Data of three classes that overlap, of which some rows are missing."""
    x, classes, *_ = srk.datasets.make_mixture(400, 3, 2, 3.0, seed=1)
    x[gaps] = np.nan
    return x, classes


def test_a_samplers_classes_do_not_outlive_its_parameters():
    x, _ = rows([])
    module = gmm.GMM(3, itr=20, inference="gibbs", save_dir=None, seed=0)
    module.connect(srk.Observation(x))
    module.update()
    classes, order = module.posterior.argmax(axis=1), np.array([2, 0, 1])
    state = module.model.state
    module.model.adopt(module.model.found._replace(state=type(state)(*(f[order] for f in state))))
    module.itr = 1
    module.update()
    agree = module.posterior.argmax(axis=1) == np.argsort(order)[classes]
    assert agree.mean() > 0.9


@pytest.mark.parametrize("options", [{}, {"inference": "gibbs"}], ids=["variational", "gibbs"])
def test_what_is_known_of_samples_stays_with_them(options):
    """Without a warm start numbers are kept of rows, wherever these have moved to."""
    x, classes = rows(range(40))
    source = srk.Observation(x, allow_missing=True)
    module = gmm.GMM(3, itr=20, warm_start=False, n_init=3, save_dir=None, seed=0, **options)
    module.connect(source)
    module.update()
    before = module.posterior.argmax(axis=1)
    moved = rows(range(360, 400))[0] + 100.0 * np.eye(3)[classes][:, :2]
    source.set_data(moved, same_samples=True)
    module.update()
    seen = np.arange(40, 360)
    assert (module.posterior.argmax(axis=1)[seen] == before[seen]).mean() > 0.85
    assert (module.get_state()["classes"] >= 0).sum() == 360


def test_kept_groups_stay_with_their_rows_when_gaps_move():
    module = gmm.GMM(3, itr=1, init="umap", keep_groups=True, save_dir=None, seed=0)
    x, classes = rows(range(40))
    source = srk.Observation(x, allow_missing=True)
    module.connect(source)
    for _ in range(2):
        module.update()
    scores = []
    for gaps in (range(361, 400), range(360, 400)):  # one fewer than before, as many
        source.set_data(rows(gaps)[0], same_samples=True)
        module.update()
        seen = np.isfinite(np.asarray(source.get_forward_msg())[:, 0])
        answer = module.posterior.argmax(axis=1)[seen]
        scores.append(srk.metrics.clustering_accuracy(classes[seen], answer))
    np.testing.assert_allclose(*scores, atol=0.02)
    source.set_data(rows([])[0])
    assert module.get_state()["groups"] is None


def test_a_very_sure_prior_is_one_thing_to_module_model_and_export(tmp_path):
    rng = np.random.default_rng(0)
    truth = np.arange(90) % 3
    x = np.array([[0, 0], [60, 0], [0, 60.0]])[truth] + rng.normal(size=(90, 2))
    source = srk.Observation(x)
    module = gmm.GMM(3, save_dir=None, seed=0)
    module.connect(source)
    module.update()
    classes = [module.posterior.argmax(axis=1)[truth == c][0] for c in range(3)]
    logs = np.zeros((30, 3))
    logs[:, classes[1]], logs[:, classes[2]] = -800.0, -900.0
    prior = srk.Categorical.from_log(logs)
    some = x[truth == 1]
    posterior = module.infer(module.read([some], prior)).posterior.probs
    np.testing.assert_allclose(
        module.model.predict({"x": some, "class_prior": prior}), posterior, atol=1e-12
    )
    tensor = tensors.Categorical(tf.constant(prior.log_probs))
    served = module.tensor_infer([tf.constant(some)], tensor, module.terms()).posterior.array
    np.testing.assert_allclose(served, posterior, atol=1e-9)
    counts = module.model.statistics({"x": some, "class_prior": prior}).counts
    np.testing.assert_allclose(counts, posterior.sum(axis=0), atol=1e-9)


def test_a_prior_that_tells_no_samples_apart_does_not_decide_where_learning_starts():
    x, classes, *_ = srk.datasets.make_mixture(90, 3, 3, 8.0, seed=3)
    for row in ([0.34, 0.33, 0.33], [0.5, 0.3, 0.2], [0.98, 0.01, 0.01]):
        for noise in (0.0, 0.005):
            prior = np.tile(row, (90, 1)) + noise * np.random.default_rng(0).random((90, 3))
            prior /= prior.sum(axis=1, keepdims=True)
            for inference in ("variational", "gibbs"):
                module = gmm.GMM(
                    3, 20, category=classes, inference=inference, n_init=3, save_dir=None, seed=0
                )
                module.connect(srk.Observation(x))
                module.set_backward_msg(prior)
                module.update()
                assert module.logs["accuracy"] == 1.0


def test_a_start_from_a_prior_says_nothing_before_one_comes():
    x, labels, *_ = srk.datasets.make_mixture(90, 3, 2, seed=0)
    module = gmm.GMM(3, init="prior", seed=0, save_dir=None)
    module.connect(srk.Observation(x))
    module.update()
    np.testing.assert_array_equal(module.get_forward_msg().probs, 1 / 3)
    np.testing.assert_allclose(np.ptp(module.model.means, axis=0), 0.0)
    module.set_backward_msg(np.full((90, 3), 1 / 3))  # says nothing either
    module.update()
    np.testing.assert_array_equal(module.get_forward_msg().probs, 1 / 3)
    module.set_backward_msg(0.9 * np.eye(3)[labels] + 0.1 / 3)
    module.update()
    agreement = (module.posterior.argmax(axis=1) == labels).mean()
    assert agreement > 0.95  # in the numbers of the prior
    module.set_backward_msg(None)
    module.update()  # goes on from there
    assert (module.posterior.argmax(axis=1) == labels).mean() > 0.9


def test_a_start_from_a_prior_needs_a_number():
    with pytest.raises(ValueError, match="init='prior'.*number"):
        gmm.GMM(None, init="prior")
