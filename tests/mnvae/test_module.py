"""The module of multinomial latent variables, alone and under a topic model."""

import subprocess
import sys
import warnings

import numpy as np
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose, assert_array_equal

import kserket as srk
from kserket import gmm, mlda, mnvae
from kserket.core.beliefs import pass_messages

N, D, L, DRAWS = 45, 8, 4, 12
LABELS = np.arange(N) % 3
PATTERNS = np.random.default_rng(3).random((3, D)) < 0.5


def images():
    return 0.8 * PATTERNS[LABELS] + 0.2 * np.random.default_rng(0).random((N, D))


def words():
    return np.random.default_rng(1).poisson(0.2 + 5.0 * np.eye(3)[LABELS].repeat(2, axis=1))


def make(draws=DRAWS, **options):
    small = {"hidden_encoder_dim": 8, "hidden_decoder_dim": 8, "learning_rate": 0.02}
    small |= {"weight_stddev": 0.5, "KL_param": 0.1}
    options = {"itr": 15, "batch_size": 15, "save_dir": None, "seed": 0, **small, **options}
    return mnvae.MNVAE(L, draws, **options)


def connected(x=None, **options):
    srk.Module.reset_names()
    module = make(**options)
    module.connect(srk.Observation(images() if x is None else x, name="image", allow_missing=True))
    return module


def with_words(counts=None, x=None, **options):
    """An MNVAE and words below an MLDA: (module, MLDA, graph)."""
    module = connected(x, **options)
    top = mlda.MLDA(3, itr=10, category=LABELS, save_dir=None)
    heard = srk.Observation(words() if counts is None else counts, name="words", allow_missing=True)
    top.connect(module, heard)
    return module, top, srk.Graph(top, seed=0)


def test_expected_counts_go_up():
    module = connected()
    module.update()
    counts = module.get_forward_msg()
    assert isinstance(counts, np.ndarray)
    assert_allclose(counts.sum(axis=1), DRAWS, rtol=1e-5)
    assert_allclose(counts / DRAWS, module.model.encode(images()), rtol=1e-5)
    assert module.logs["active_units"] > 0


def test_one_draw_states_classes():
    module = connected(draws=1)
    module.update()
    message = module.get_forward_msg()
    assert isinstance(message, srk.Categorical)
    assert_allclose(message.probs, module.model.encode(images()), atol=1e-6)


@pytest.mark.parametrize("draws", [1, DRAWS])
def test_missing_rows_say_nothing_and_are_pictured_from_above(draws):
    x = images()
    x[5] = np.nan
    module = connected(x, draws=draws)
    module.update()
    missing = srk.missing_rows(module.get_forward_msg())
    assert_array_equal(np.flatnonzero(missing), [5])
    equal = module.model.decode(np.full((1, L), draws / L))[0]
    (below,) = module.inputs
    assert_allclose(np.asarray(below.get_backward_msg())[5], equal, rtol=1e-5)
    prior = np.random.default_rng(0).dirichlet(np.ones(L), N)
    module.set_backward_msg(prior)
    module.mode = "recog"
    module.update()
    expected = module.model.decode(draws * prior[5:6])[0]
    assert_allclose(np.asarray(below.get_backward_msg())[5], expected, rtol=1e-4)
    assert_allclose(module.predict()[0], module.model.decode(draws * prior), rtol=1e-4)


def test_learned_rows_are_those_that_were_observed():
    x = images()
    module = connected(x[:30])
    module.update()
    x[30:] = np.nan
    other = connected(x)
    other.update()
    # to rounding: products of 60 rows and of 30 are not the same on every processor
    assert_allclose(other.get_forward_msg()[:30], module.get_forward_msg(), rtol=1e-5)


def test_weights_of_the_first_update_and_of_later_ones():
    module = connected(KL_param=(0.5, 2.0), itr=1)
    assert module.kl_weight == 0.5
    module.update()
    assert float(module.model.kl_weight.numpy()) == 0.5
    assert module.kl_weight == module.KL_param == 2.0
    module.update()
    assert float(module.model.kl_weight.numpy()) == 2.0
    module.kl_weight = 0.25
    module.update()
    assert float(module.model.kl_weight.numpy()) == 0.25
    assert module.get_config()["KL_param"] == [0.25, 0.25]


def test_the_divergence_is_weighed_in_units_of_all_draws():
    module = connected(KL_param=0.3)
    module.update()
    figures = module.evaluate(module.read([images()], None))
    q = module.model.encode(images()).astype("float64")
    divergence = DRAWS * (q * np.log(q * L)).sum(axis=1).mean()
    assert figures["kl"] == pytest.approx(divergence, rel=1e-4)
    assert figures["loss"] == pytest.approx(figures["reconstruction"] + 0.3 * divergence, rel=1e-4)


def test_temperature_falls_over_all_updates():
    module = connected(tau=2.0, rate=0.1, itr=4)
    for updates in (1, 2):
        module.update()
        expected = 2.0 * np.exp(-0.1 * 4 * updates)
        assert float(module.model.temperature.numpy()) == pytest.approx(expected, rel=1e-4)
    module = connected(tau=1.0, rate=5.0, itr=2)
    module.update()
    assert float(module.model.temperature.numpy()) == 0.5
    module = connected(tau=0.3, rate=5.0, itr=2)  # colder than where annealing ends
    module.update()
    assert float(module.model.temperature.numpy()) == pytest.approx(0.3)


def test_words_shape_images_and_predict_them():
    module, top, graph = with_words()
    history = graph.fit(rounds=3, verbose=0).history
    assert history["mlda/accuracy"][-1] > 0.9
    assert history["mnvae/active_units"][-1] > 0
    message = np.asarray(module.get_backward_msg())
    assert_allclose(message.sum(axis=1), 1, rtol=1e-5)
    pictures = graph.predict({"words": words()}, outputs="image")
    distance = np.abs(pictures[:, None] - PATTERNS).mean(axis=2)
    assert (distance.argmin(axis=1) == LABELS).mean() > 0.9
    seen = graph.predict({"image": images()}, outputs="mlda")
    assert srk.metrics.clustering_accuracy(LABELS, seen.argmax(axis=1)) > 0.9


@pytest.mark.parametrize("draws", [1, DRAWS])
def test_a_reader_with_nothing_else_to_say_sends_nothing(draws):
    module = connected(draws=draws)
    top = mlda.MLDA(3, itr=10, category=LABELS, save_dir=None)
    top.connect(module)
    graph = srk.Graph(top, seed=0)
    history = graph.fit(rounds=3, verbose=0).history
    assert module.get_backward_msg() is None
    assert history["mnvae/active_units"][-1] > 0
    top.set_backward_msg(0.05 + 0.85 * np.eye(3)[LABELS])  # now there is something to say
    graph.fit(rounds=1, verbose=0)
    assert np.asarray(module.get_backward_msg()).std(axis=0).max() > 0.001


def test_rows_of_which_others_say_nothing_are_told_nothing():
    counts = words().astype(float)
    counts[::2] = np.nan
    module, _, graph = with_words(counts)
    graph.fit(rounds=1, verbose=0)
    message = module.get_backward_msg()
    assert_array_equal(message.missing, np.arange(N) % 2 == 0)
    assert_allclose(message.probs[::2], 1 / L)
    assert np.abs(message.probs[1::2] - 1 / L).max() > 0.01
    graph.fit(rounds=1, verbose=0)
    assert np.isfinite(module.logs["loss"])


@pytest.mark.parametrize("draws", [1, DRAWS])
def test_compiled_predictions_are_those_of_infer(draws):
    module, _, graph = with_words(draws=draws, itr=3)
    graph.fit(rounds=2, verbose=0)
    x, counts = images(), words().astype(float)
    x[3], counts[4], x[5], counts[5] = np.nan, np.nan, np.nan, np.nan
    data = {"image": x, "words": counts}
    names = ["image", "mnvae", "mlda"]
    found = graph.predict(data, outputs=names)
    assert graph.program.is_compiled
    plain = pass_messages(graph, {graph.observations[name]: data[name] for name in data}, 9, 1e-9)
    for name in names:
        assert_allclose(found[name], plain.answer(graph[name]), rtol=1e-3, atol=1e-4, err_msg=name)


def test_drawn_data_come_from_words_of_the_topic():
    _, top, graph = with_words()
    graph.fit(rounds=2, verbose=0)
    drawn = graph.generate(30, component=np.zeros(30, int), seed=0)
    assert drawn["image"].shape == (30, D)
    same = np.argmin(np.abs(drawn["image"][:, None] - PATTERNS).mean(axis=2), axis=1)
    assert (same == np.bincount(same).argmax()).mean() > 0.8


def test_a_graph_is_saved_resumed_and_served(tmp_path):
    module, _, graph = with_words(itr=4, rate=0.05)
    graph.fit(rounds=1, verbose=0)
    graph.save(tmp_path / "graph.kserket")
    graph.fit(rounds=1, verbose=0)
    loaded = srk.load_graph(tmp_path / "graph.kserket")
    loaded.fit(rounds=1, verbose=0)
    asked = {"words": words()[:4]}
    pictures = graph.predict(asked, outputs="image")
    assert_array_equal(loaded.predict(asked, outputs="image"), pictures)
    assert loaded["mnvae"].get_config()["KL_param"] == [0.1, 0.1]
    graph.save(tmp_path / "graph.kserket")
    np.save(tmp_path / "words.npy", words()[:4])
    script = (
        "import numpy as np, kserket as srk\n"
        "graph = srk.load_graph('graph.kserket')\n"
        "words = np.load('words.npy')\n"
        "np.save('pictures.npy', graph.predict({'words': words}, outputs='image'))"
    )
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True, capture_output=True)
    assert_allclose(np.load(tmp_path / "pictures.npy"), pictures, rtol=1e-5)
    graph.export(tmp_path / "served")
    served = tf.saved_model.load(str(tmp_path / "served"))
    assert {"serving_default", "decode"} <= set(served.signatures)


def test_files(tmp_path):
    module = connected(save_dir=tmp_path, itr=2)
    module.update()
    read = {path.name: path for path in module.folder.iterdir()}
    z, probs = np.loadtxt(read["z_learn.txt"]), np.loadtxt(read["Pdz_learn.txt"])
    assert_allclose(z, DRAWS * probs, rtol=1e-5, atol=1e-6)
    assert_allclose(probs.sum(axis=1), 1, rtol=1e-5)
    assert np.loadtxt(read["x_hat_learn.txt"]).shape == (N, D)
    assert np.loadtxt(read["loss.txt"]).shape == (2,)
    again = connected(load_dir=module.folder, mode="recog")
    again.update()
    assert_allclose(again.get_forward_msg(), module.get_forward_msg(), rtol=1e-5)
    other = make(load_dir=module.folder, draws=DRAWS + 1)
    other.connect(*module.inputs)
    with pytest.raises(ValueError, match="N"):
        other.update()


SERKETS = {
    "names": lambda: mnvae.MNVAE(
        latent_dim=8, N=50, epoch=3, batch_size=9, KLD_weights=[1, 100], RE="MSE", loss_step=5
    ),
    "order": lambda: mnvae.MNVAE(8, 50, 1.0, 1e-4, 3, "mnvae", 9, [1, 100], "MSE", None, 5),
    "both": lambda: mnvae.MNVAE(8, 50, KLD_weights=[1, 100], RE="MSE", itr=3, batch_size=9),
}


@pytest.mark.parametrize("case", SERKETS)
def test_serkets_arguments(case):
    with pytest.warns(UserWarning, match=r"KL_param=\[0\.02, 2\.0\]"):
        module = SERKETS[case]()
    assert (module.latent_dim, module.N, module.itr, module.batch_size) == (8, 50, 3, 9)
    assert module.get_config()["KL_param"] == [0.02, 2.0]  # of N KL(q||p)
    assert (module.likelihood, module.variance) == ("gaussian", 1.0)
    again = mnvae.MNVAE.from_config(module.get_config())
    assert again.get_config() == module.get_config()


def test_positions_of_today_are_read_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        module = mnvae.MNVAE(8, 50, 0.9, 0.01, 3, "seen", 9)
    assert (module.N, module.tau, module.rate, module.itr, module.name) == (
        50,
        0.9,
        0.01,
        3,
        "seen",
    )
    with pytest.raises(TypeError, match="latent_dim"):
        mnvae.MNVAE(8, latent_dim=8)


class Own(mnvae.MNVAE):
    def build_encoder(self, x, latent_dim):
        return tf.keras.layers.Dense(latent_dim)(x)

    def build_decoder(self, z):
        return tf.keras.layers.Dense(D)(z), tf.compat.v1.train.AdamOptimizer(0.003)


def test_networks_in_a_subclass():
    module = Own(L, DRAWS, itr=2, batch_size=15, save_dir=None, seed=0)
    module.connect(srk.Observation(images()))
    module.update()
    assert module.learning_rate == pytest.approx(0.003)
    assert [layer.name for layer in module.model.encoder.layers if "z_logits" in layer.name] == []


ERRORS = {
    "N": (lambda: make(0), "N"),
    "tau": (lambda: make(tau=0.0), "tau"),
    "rate": (lambda: make(rate=-1.0), "rate"),
    "three weights": (lambda: make(KL_param=[1, 2, 3]), "a pair"),
    "a weight": (lambda: make(KL_param=[1, -2]), "KL_param"),
    "words": (lambda: make(KL_param="high"), "KL_param"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_wrong_options(case):
    call, text = ERRORS[case]
    with pytest.raises((TypeError, ValueError), match=text):
        call()


def test_what_cannot_be_read_is_an_error():
    module = connected()
    module.set_backward_msg(np.full((N, L), 0.5))
    with pytest.raises(ValueError, match="class probabilities from above.*summing to 1"):
        module.update()
    module.set_backward_msg(np.full((N, L + 1), 1 / (L + 1)))
    with pytest.raises(ValueError, match=rf"\(N, {L}\)"):
        module.update()
    assert module.model is None and module.get_forward_msg() is None
    module = connected(3.0 * images())
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        module.update()
    module = make()
    classes = gmm.GMM(2, save_dir=None, seed=0)
    classes.connect(srk.Observation(images()))
    classes.update()
    module.connect(classes)
    with pytest.raises(ValueError, match="backward=False"):
        module.update()


def test_a_mixture_above_is_asked_to_read_without_answering():
    module = connected(itr=2)
    classes = gmm.GMM(2, save_dir=None, seed=0)
    classes.connect(module)
    module.update()
    classes.update()
    with pytest.raises(ValueError, match="class probabilities from above"):
        module.update()
    module = connected(itr=2)
    classes = gmm.GMM(2, save_dir=None, seed=0)
    classes.connect(module, backward=False)
    for _ in range(2):
        module.update()
        classes.update()
