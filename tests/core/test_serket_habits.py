"""What Serket's modules did beside update(): rounds kept, recog(), predict(), reading twice."""

import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import kserket as srk
from kserket import gmm, mlda, tt, utils, vae
from kserket.core.beliefs import pass_messages
from kserket.core.prediction import read_data

LABELS = np.arange(40) % 4


@pytest.fixture
def points():
    return 5.0 * np.eye(4)[LABELS] + np.random.default_rng(0).normal(size=(40, 4))


@pytest.fixture
def words():
    return np.random.default_rng(1).poisson(0.2 + 4.0 * np.eye(4)[LABELS].repeat(2, axis=1))


# Files ------------------------------------------------------------------------------------


def test_every_update_has_a_folder(points):
    gmm1 = gmm.GMM(4, itr=3, category=LABELS + 7, keep_rounds=True, seed=0)
    gmm1.connect(srk.Observation(points))
    for _ in range(2):
        gmm1.update()
    gmm1.keep_rounds = False
    gmm1.update()
    names = {path.name for path in gmm1.folder.iterdir() if path.is_file()}
    folders = sorted(path.name for path in gmm1.folder.iterdir() if path.is_dir())
    assert [name for name in folders if name.isdigit()] == ["000", "001"]
    for folder in ("000", "001"):
        assert {path.name for path in (gmm1.folder / folder).iterdir()} == names
    srk.Module.reset_names()
    again = gmm.GMM(4, mode="recog", load_dir=gmm1.folder / "001", save_dir=None)
    again.connect(srk.Observation(points))
    again.update()
    assert_allclose(
        np.asarray(again.get_forward_msg()),
        np.loadtxt(gmm1.folder / "001" / "Pdz_learn.txt"),
        atol=0.1,
    )


def test_class_files_hold_the_labels_names(points, words):
    obs1, obs2 = srk.Observation(points), srk.Observation(words)
    labels = np.array([10, 3, 77, 5])[LABELS]
    gmm1 = gmm.GMM(4, category=labels, seed=0)
    mlda1 = mlda.MLDA(4, category=labels / 2, seed=0)
    named = gmm.GMM(4, category=np.array(["a", "b", "c", "d"])[LABELS], seed=0)
    tt1 = tt.TtoT(category=labels)
    gmm1.connect(obs1)
    mlda1.connect(obs2)
    named.connect(obs1)
    tt1.connect(gmm1, mlda1)
    for module in (gmm1, mlda1, named, tt1):
        module.update()
    files = [(gmm1, "class"), (mlda1, "categories"), (tt1, "class")]
    for module, name in files:
        classes = np.loadtxt(module.folder / f"{name}_learn.txt")
        assert np.isclose((classes == module.labels).mean(), module.logs["accuracy"])
    columns = np.loadtxt(named.folder / "Pdz_learn.txt").argmax(axis=1)
    assert_array_equal(np.loadtxt(named.folder / "class_learn.txt"), columns)


# recog and predict ------------------------------------------------------------------------


def test_recog_infers_with_its_own_parameters_or_those_of_a_folder(points):
    gmm1 = gmm.GMM(4, itr=5, seed=0)
    obs = srk.Observation(points)
    gmm1.connect(obs)
    gmm1.update()
    before = gmm1.model.get_weights()
    gmm1.recog()
    assert gmm1.mode == "learn" and (gmm1.folder / "Pdz_recog.txt").is_file()
    for old, new in zip(before, gmm1.model.get_weights(), strict=True):
        assert_array_equal(old, new)
    other = gmm.GMM(4, save_dir=None, seed=5)
    other.connect(obs)
    other.recog(gmm1.folder)
    assert_allclose(other.posterior, gmm1.posterior)
    with pytest.raises(FileNotFoundError):
        other.recog("nowhere")
    assert other.mode == "learn" and str(other.load_dir) == str(gmm1.folder)
    assert_allclose(other.posterior, gmm1.posterior)
    assert other.model is not None


def test_predict_says_what_the_message_from_above_means(points):
    gmm1 = gmm.GMM(4, save_dir=None, seed=0)
    obs = srk.Observation(points)
    gmm1.connect(obs)
    with pytest.raises(RuntimeError, match="learned nothing"):
        gmm1.predict()
    gmm1.update()
    gmm1.set_backward_msg(np.eye(4)[[1] * 40])
    before = gmm1.get_forward_msg()
    (mu,) = gmm1.predict()
    assert_allclose(mu, np.tile(gmm1.model.means[1], (40, 1)), atol=1e-8)
    assert_allclose(obs.get_backward_msg(), mu)
    assert gmm1.get_forward_msg() is before

    vae1 = vae.VAE(2, itr=2, save_dir=None, seed=0, likelihood="gaussian")
    vae1.connect(obs)
    vae1.update()
    z = np.random.default_rng(0).normal(size=(40, 2)).astype("float32")
    vae1.set_backward_msg(z)
    assert_allclose(vae1.predict()[0], vae1.model.decode(z), rtol=1e-5)


def test_mlda_takes_the_folder_of_a_trained_model(words):
    mlda1 = mlda.MLDA(4, seed=0)
    mlda1.connect(srk.Observation(words))
    mlda1.update()
    other = mlda.MLDA(4, seed=9)
    other.connect(srk.Observation(words))
    other.update(mlda1.folder)
    assert_allclose(other.posterior, mlda1.posterior)
    assert (other.folder / "Pdz_recog.txt").is_file()
    (counts,) = mlda.load_model(mlda1.folder)
    assert counts.shape == (8, 4)
    assert_allclose(counts, mlda1.model.state.words[0].T)
    with pytest.raises(FileNotFoundError):
        mlda.load_model("nowhere")


# Inputs -----------------------------------------------------------------------------------


def test_modules_of_users_read_none_before_anything_was_said(points):
    class Patient(srk.Module):
        def update(self):
            self.heard = self.get_observations()

    obs = srk.Observation(points)
    gmm1, own = gmm.GMM(4, save_dir=None, seed=0), Patient("patient")
    gmm1.connect(obs)
    own.connect(gmm1, obs)
    own.update()
    assert own.heard[0] is None and own.heard[1].shape == (40, 4)
    gmm1.update()
    own.update()
    assert own.heard[0].shape == (40, 4)
    above = gmm.GMM(4, save_dir=None)
    silent = gmm.GMM(4, save_dir=None)
    silent.connect(obs)
    above.connect(silent)
    with pytest.raises(RuntimeError, match="has sent nothing"):
        above.update()


def test_a_joining_node_takes_silence_for_samples_not_seen(points, words):
    gmm1, mlda1 = gmm.GMM(4, save_dir=None, seed=0), mlda.MLDA(4, save_dir=None, seed=0)
    gmm1.connect(srk.Observation(points))
    mlda1.connect(srk.Observation(words))
    tt1 = tt.TtoT(save_dir=None)
    tt1.connect(gmm1, mlda1)
    with pytest.raises(RuntimeError, match="have sent nothing"):
        tt1.update()
    mlda1.update()
    tt1.update()
    # smoothing flattens what it hears: the classes stay
    assert_array_equal(tt1.posterior.argmax(1), mlda1.posterior.argmax(1))
    gmm1.update()
    tt1.update()
    assert srk.metrics.clustering_accuracy(LABELS, tt1.posterior.argmax(1)) > 0.9


def test_an_observation_may_be_read_twice(words, tmp_path):
    obs = srk.Observation(words)
    mlda1 = mlda.MLDA(4, [50, 100], save_dir=None, seed=0)
    mlda1.connect(obs, obs)
    graph = srk.Graph(mlda1)
    graph.fit(2, verbose=0)
    assert len(obs.mailbox.backward) == 2  # what each position was told
    inference = mlda1.infer(mlda1.read(*mlda1.get_messages()))
    for kept, sent in zip(obs.mailbox.backward.values(), inference.downward, strict=True):
        assert_allclose(np.asarray(kept), np.asarray(sent))
    predicted = graph.predict(words[:5], ["mlda", "obs"])
    beliefs = pass_messages(graph, read_data(graph, words[:5]), 50, 1e-6)
    assert_allclose(predicted["mlda"], beliefs.answer(mlda1), atol=1e-6)
    assert_allclose(predicted["obs"], beliefs.answer(obs), atol=1e-6)
    graph.save(tmp_path / "graph.kserket")
    again = srk.load_graph(tmp_path / "graph.kserket")
    assert_allclose(again.predict(words[:5]), predicted["mlda"], atol=1e-12)
    (loaded,) = again.observations.values()
    assert [type(seat).__name__ for seat in loaded.mailbox.backward] == ["MLDA", "Seat"]
    assert graph.to_mermaid().count("-->") == 2
    graph.summary(print_fn=str)
    mlda1.disconnect()
    assert not obs.mailbox.backward


def test_a_module_of_classes_is_not_read_twice(points):
    gmm1 = gmm.GMM(4, save_dir=None)
    with pytest.raises(ValueError, match="Only an observation may be read twice"):
        mlda.MLDA(4).connect(gmm1, gmm1)


def test_class_means_sent_to_an_observation_are_left_out_with_a_warning(points):
    class Means(srk.Module):
        def update(self):
            self.send_backward_msgs([np.zeros((3, 4))])

    obs = srk.Observation(points)
    own = Means("means")
    own.connect(obs)
    with pytest.warns(UserWarning, match=r"of shape \(3, 4\), and its data have \(40, 4\)"):
        own.update()
    assert obs.get_backward_msg() is None
    buffer = utils.Buffer()
    buffer.connect(obs)
    buffer.update()
    own.connect(buffer)
    with pytest.raises(ValueError, match=r"shape \(3, 4\)"):
        own.update()


def test_an_observation_of_nothing_names_the_way():
    with pytest.raises(TypeError, match=r"allow_missing=True.*set_data\(\) or set_forward_msg"):
        srk.Observation(None)


# New words --------------------------------------------------------------------------------


def test_a_topic_model_takes_new_words_in(words, tmp_path):
    obs = srk.Observation(words[:20, :6])
    buffer, mlda1 = utils.Buffer(), mlda.MLDA(4, save_dir=None, seed=0)
    buffer.connect(obs)
    mlda1.connect(buffer)
    buffer.update()
    mlda1.update()
    before = mlda1.model.topics[0]
    wider = mlda1.model.widened([8])
    assert_array_equal(wider.state.words[0], np.pad(mlda1.model.state.words[0], ((0, 0), (0, 2))))
    topics = wider.topics[0]
    assert_allclose(topics.sum(axis=1), 1.0)
    ratio = topics[:, :6] / before  # one for all words of a topic
    assert_allclose(ratio, np.tile(ratio[:, :1], 6))
    prior = np.asarray(wider.prior.words[0])
    total = wider.state.words[0].sum(axis=1, keepdims=True) + 8 * prior
    assert_allclose(topics[:, 6:], np.broadcast_to(prior / total, (4, 2)))

    graph = srk.Graph(mlda1)
    graph.save(tmp_path / "graph.kserket", include_data=True)
    for one in (graph, srk.load_graph(tmp_path / "graph.kserket")):
        (source,) = one.observations.values()
        one.predict(words[:3, :6])
        source.set_data(words[20:])
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            one.fit(1, verbose=0)
        top = one.tops[0]
        assert top.posterior.shape == (40, 4) and top.model.vocabulary_sizes == [8]
        assert srk.metrics.clustering_accuracy(LABELS[20:], top.posterior[20:].argmax(1)) > 0.9
        assert one.predict(words[:3]).shape == (3, 4)


def test_a_failed_update_leaves_the_vocabulary(words, monkeypatch):
    obs = srk.Observation(words[:, :6])
    mlda1 = mlda.MLDA(4, save_dir=None, seed=0)
    mlda1.connect(obs)
    mlda1.update()
    model = mlda1.model
    obs.set_data(words)
    monkeypatch.setattr(mlda1, "infer_learned", lambda documents: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        mlda1.update()
    assert mlda1.model is model and mlda1._input_shapes == [[6]]
    monkeypatch.undo()
    mlda1.update()
    assert mlda1.model.vocabulary_sizes == [8]
    with pytest.raises(ValueError, match=r"holds samples of shape \(8,\)"):
        obs.set_data(words[:, :3])


def test_a_part_with_fewer_words_than_are_known_is_no_error(words):
    obs = srk.Observation(words[:20])
    buffer, mlda1 = utils.Buffer(), mlda.MLDA(4, save_dir=None, seed=0)
    buffer.connect(obs)
    mlda1.connect(buffer)
    for part in (words[:20], words[20:, :5]):
        obs.set_data(part)
        buffer.update()
        mlda1.update()
    assert obs.get_backward_msg().shape == (20, 5)
    assert srk.Graph(mlda1).predict(words[:3, :5], ["mlda", "obs"])["obs"].shape == (3, 5)


def test_reports_of_other_classes_are_not_new_words(points):
    gmm1, gmm2 = gmm.GMM(3, save_dir=None, seed=0), gmm.GMM(4, save_dir=None, seed=0)
    obs = srk.Observation(points)
    for module in (gmm1, gmm2):
        module.connect(obs)
        module.update()
    mlda1 = mlda.MLDA(3, save_dir=None, seed=0)
    mlda1.connect(gmm1)
    mlda1.update()
    mlda1.connect(gmm2)
    with pytest.raises(ValueError, match="was built for samples"):
        mlda1.update()


@pytest.mark.parametrize("seed", range(3))
def test_new_words_bring_new_classes_and_topics_keep_their_numbers(seed):
    rng = np.random.default_rng(seed)
    kinds = np.concatenate([np.arange(size * num) % num for num, size in ((2, 6), (3, 8), (4, 10))])
    words = rng.poisson(0.1 + 2.0 * np.eye(4)[kinds].repeat(2, axis=1))
    shapes = rng.poisson(0.5 + 3.0 * np.eye(4)[kinds].repeat(3, axis=1))
    heard, seen = srk.Observation(words[:12, :4]), srk.Observation(shapes[:12])
    buffers = utils.Buffer(), utils.Buffer()
    mlda1 = mlda.MLDA(4, save_dir=None, seed=seed)
    for buffer, obs in zip(buffers, (heard, seen), strict=True):
        buffer.connect(obs)
    mlda1.connect(*buffers)
    for rows, known in ((slice(0, 12), 4), (slice(12, 36), 6), (slice(36, 76), 8)):
        if rows.start:
            heard.set_data(words[rows, :known])
            seen.set_data(shapes[rows])
            before = mlda1.posterior.copy()
        for module in (*buffers, mlda1):
            module.update()
    assert srk.metrics.clustering_accuracy(kinds, mlda1.posterior.argmax(1)) > 0.95
    now = mlda1.posterior.argmax(1)[: len(before)]
    known = np.isin(kinds[: len(before)], (0, 1, 2))
    agreement = srk.metrics.clustering_accuracy(before.argmax(1)[known], now[known])
    same = np.mean(before.argmax(1)[known] == now[known])
    assert same > agreement - 0.1  # hardly any other numbering fits what was said before better


def test_predict_waits_for_new_words_to_be_learned(words):
    obs = srk.Observation(words[:, :6])
    mlda1 = mlda.MLDA(4, save_dir=None, seed=0)
    mlda1.connect(obs)
    graph = srk.Graph(mlda1)
    graph.fit(1, verbose=0)
    obs.set_data(words)
    with pytest.raises(ValueError, match=r"learned from samples of shape \(6,\) of obs"):
        graph.predict(words)
    graph.fit(1, verbose=0)
    assert graph.predict(words).shape == (40, 4)
