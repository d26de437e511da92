"""`GroupSum`, `TextSaver`, `Buffer`: what passes through them, both ways."""

import numpy as np
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose, assert_array_equal

import kserket as srk
from kserket import gmm, utils, vae


class Top(srk.Module):
    """Says something given of what it reads."""

    def __init__(self, answer=None, name="top"):
        super().__init__(name, learnable=False)
        self.answer = answer

    def infer(self, inputs, prior):
        answer = np.asarray(inputs[0]) + 1.0 if self.answer is None else self.answer
        return srk.Inference(inputs[0], [answer])

    def update(self):
        inference = self.infer(self.get_observations(), self.get_backward_msg())
        self.set_forward_msg(inference.evidence)
        self.send_backward_msgs(inference.downward)


class Source(srk.Module):
    """Sends a given message."""

    def __init__(self, message, name="source"):
        super().__init__(name, learnable=False)
        self.set_forward_msg(message)


def chain(*modules):
    for below, above in zip(modules[:-1], modules[1:], strict=True):
        above.connect(below)
    return modules


def update(*modules):
    for module in modules:
        module.update()


# GroupSum ---------------------------------------------------------------------------------


def test_group_sum_adds_rows_and_hands_each_its_groups_message():
    probs = np.random.default_rng(0).dirichlet(np.ones(3), 5)
    above = np.random.default_rng(1).dirichlet(np.ones(3), 2)
    source, groups, top = chain(
        Source(srk.Categorical(probs)), utils.GroupSum([0, 1, 1, 0, 1]), Top(srk.Categorical(above))
    )
    update(groups, top, groups)
    assert_allclose(groups.get_forward_msg(), [probs[[0, 3]].sum(0), probs[[1, 2, 4]].sum(0)])
    assert isinstance(source.get_backward_msg(), srk.Categorical)
    assert_allclose(source.get_backward_msg(), above[[0, 1, 1, 0, 1]])


def test_group_sum_of_one_row_groups_is_the_identity():
    x = np.random.default_rng(0).normal(size=(4, 2))
    _, groups = chain(srk.Observation(x), utils.GroupSum(np.arange(4)))
    groups.update()
    assert_allclose(groups.get_forward_msg(), x)


def test_missing_rows_add_nothing():
    x = np.array([[1.0, 2.0], [np.nan, np.nan], [3.0, 4.0]])
    _, groups = chain(srk.Observation(x, allow_missing=True), utils.GroupSum([0, 0, 1]))
    groups.update()
    assert_array_equal(groups.get_forward_msg(), [[1.0, 2.0], [3.0, 4.0]])


@pytest.mark.parametrize(
    "group_idx", [[], [0.5, 1], [-1, 0], [0, np.inf], ["a"], [["a"]], [[0, 1], [1, 0]], [0, 2], [1]]
)
def test_wrong_groups(group_idx):
    with pytest.raises((TypeError, ValueError), match="group_idx"):
        utils.GroupSum(group_idx)


def test_groups_of_other_names_are_to_be_numbered():
    names = np.array(["cup", "can", "cup", "box"])
    for wrong in (names, list(names), [7, 3, 7, 9]):
        with pytest.raises((TypeError, ValueError), match=r"np.unique\(group_idx, return_inverse"):
            utils.GroupSum(wrong)
        numbers = np.unique(wrong, return_inverse=True)[1]
        assert utils.GroupSum(numbers).num_groups == 3


def test_groups_of_other_data_are_refused():
    _, groups = chain(srk.Observation(np.ones((3, 2))), utils.GroupSum([0, 1]))
    with pytest.raises(ValueError, match="groups of 2 rows and reads 3"):
        groups.update()


def test_groups_as_loadtxt_reads_them():
    assert_array_equal(utils.GroupSum(np.array([0.0, 1.0])).group_idx, [0, 1])


# TextSaver --------------------------------------------------------------------------------


def test_text_saver_writes_and_passes_all_rows_both_ways(tmp_path):
    x = np.random.default_rng(0).normal(size=(6, 3))
    path = tmp_path / "new" / "x.txt"
    obs, saver, top = chain(srk.Observation(x), utils.TextSaver(path), Top())
    update(saver, top, saver)
    assert_allclose(np.loadtxt(path), x, atol=1e-9)
    assert_array_equal(saver.get_forward_msg(), x)
    assert_allclose(obs.get_backward_msg(), x + 1.0)


def test_text_saver_keeps_the_kind_of_message():
    message = srk.Gaussian(np.zeros((3, 2)), np.full((3, 2), 0.5))
    _, saver = chain(Source(message), utils.TextSaver("z.txt"))
    saver.update()
    assert saver.get_forward_msg() is message


def test_modules_in_between_change_nothing():
    x, labels, *_ = srk.datasets.make_mixture(60, 3, 2, seed=0)
    answers = []
    for between in (False, True):
        srk.Module.reset_names()
        obs, gmm1 = srk.Observation(x), gmm.GMM(3, save_dir=None, seed=0)
        gmm1.connect(chain(obs, utils.TextSaver("x.txt"))[-1] if between else obs)
        graph = srk.Graph(gmm1)
        graph.fit(rounds=2, verbose=0)
        answers.append(graph.predict(x))
    assert_array_equal(*answers)


# Buffer -----------------------------------------------------------------------------------


def test_buffer_collects_parts():
    obs, buffer, top = chain(srk.Observation(np.zeros((2, 1))), utils.Buffer(), Top())
    update(buffer, top)
    obs.set_data(np.ones((3, 1)))
    update(buffer, top)
    assert_array_equal(buffer.get_forward_msg().ravel(), [0, 0, 1, 1, 1])
    assert_array_equal(obs.get_backward_msg(), np.full((3, 1), 2.0))


def test_a_full_buffer_forgets_the_oldest():
    obs, buffer = chain(srk.Observation(np.zeros((2, 1))), utils.Buffer(3))
    for value in range(4):
        obs.set_data(np.full((2, 1), float(value)))
        buffer.update()
    assert_array_equal(buffer.get_forward_msg().ravel(), [2, 3, 3])


@pytest.mark.parametrize(
    "message",
    [
        np.ones((2, 3)),
        srk.Categorical(np.full((2, 3), 1 / 3)),
        srk.Gaussian(np.ones((2, 3)), np.ones((2, 3))),
        srk.Gaussian(np.ones((2, 3))),
    ],
    ids=["array", "categorical", "gaussian", "unit-gaussian"],
)
def test_a_buffer_that_is_not_full_sends_what_it_holds(message):
    _, buffer = chain(Source(message), utils.Buffer(5))
    for expected in (2, 4, 5):
        buffer.update()
        forward = buffer.get_forward_msg()
        assert forward.shape == (expected, 3) and type(forward) is type(message)
        assert_allclose(np.asarray(forward)[-2:], np.asarray(message))


def test_new_words_are_new_columns():
    obs, buffer = chain(srk.Observation([[1.0, 2.0]]), utils.Buffer())
    for part in ([[1.0, 2.0]], [[0.0, 1.0, 3.0]], [[5.0, 0.0]]):
        obs.set_forward_msg(np.array(part))
        buffer.update()
    assert_array_equal(buffer.get_forward_msg(), [[1, 2, 0], [0, 1, 3], [5, 0, 0]])


def test_what_was_said_of_an_old_part_is_withdrawn():
    obs, buffer, top = chain(srk.Observation(np.zeros((2, 1))), utils.Buffer(4), Top())
    update(buffer, top)
    assert_array_equal(obs.get_backward_msg(), [[1.0], [1.0]])
    obs.set_data(np.ones((2, 1)))
    buffer.update()
    assert obs.get_backward_msg() is None
    assert buffer.get_backward_msg() is None


def test_what_a_buffer_holds_outlives_the_samples_it_read():
    obs, middle, buffer, top = chain(
        srk.Observation(np.zeros((2, 1))), Top(name="middle"), utils.Buffer(), Top()
    )
    update(middle, buffer, top)
    assert middle.get_backward_msg() is not None
    obs.set_data(np.ones((2, 1)))
    assert middle.get_forward_msg() is None and middle.get_backward_msg() is None
    assert buffer.get_forward_msg().shape == (2, 1) and top.get_forward_msg() is not None
    update(middle, buffer, top)
    assert buffer.get_forward_msg().shape == (4, 1)


def test_buffer_under_a_mixture_learns_from_all_parts():
    x, labels, *_ = srk.datasets.make_mixture(90, 3, 2, seed=0)
    obs, buffer, gmm1 = chain(
        srk.Observation(x[:30]), utils.Buffer(90), gmm.GMM(3, save_dir=None, seed=0)
    )
    for start in (0, 30, 60):
        obs.set_data(x[start : start + 30])
        update(buffer, gmm1)
    assert gmm1.posterior.shape == (90, 3)
    assert srk.metrics.clustering_accuracy(labels, gmm1.posterior.argmax(axis=1)) > 0.9
    assert np.shape(obs.get_backward_msg()) == (30, 2)


def test_what_a_buffer_holds_is_saved_with_its_graph(tmp_path):
    obs, buffer, gmm1 = chain(
        srk.Observation(np.random.default_rng(0).normal(size=(8, 2))),
        utils.Buffer(),
        gmm.GMM(2, save_dir=None),
    )
    graph = srk.Graph(gmm1, seed=0)
    graph.fit(rounds=2, verbose=0)
    graph.save(tmp_path / "g.kserket")
    again = srk.load_graph(tmp_path / "g.kserket")
    for one in (graph, again):
        one.fit(rounds=1, verbose=0)
    assert again["gmm"].posterior.shape == (24, 2)
    assert_array_equal(again["gmm"].posterior, graph["gmm"].posterior)


@pytest.mark.parametrize("size", [0, -2, 1.5, np.nan, np.inf, None, "3", [3], True])
def test_wrong_sizes(size):
    with pytest.raises(ValueError, match="`size` must be -1 or a positive integer"):
        utils.Buffer(size)


def test_a_part_that_does_not_fit_is_refused():
    obs, buffer = chain(srk.Observation(np.ones((4, 2))), utils.Buffer(3))
    with pytest.raises(ValueError, match="holds 3 rows and reads 4"):
        buffer.update()
    obs.set_data(np.ones((2, 2)))
    buffer.update()
    obs.set_data(np.ones((2, 5, 5)))
    with pytest.raises(ValueError, match="one kind and shape"):
        buffer.update()
    assert buffer.get_forward_msg().shape == (2, 2)


def test_one_module_is_read():
    saver = utils.TextSaver("x.txt")
    saver.connect(srk.Observation(np.ones((2, 2))), srk.Observation(np.ones((2, 2))))
    with pytest.raises(ValueError, match="reads one module"):
        saver.update()


# Graphs with modules in between ------------------------------------------------------------


def deep_graph(between=lambda: None):
    """A mixture over a VAE over data, with `between()` between any two of them."""
    x = np.random.default_rng(0).integers(0, 2, (20, 1)) * np.ones((1, 6))
    x = np.concatenate([x, np.random.default_rng(1).uniform(size=(20, 6))])
    srk.Module.reset_names()
    learners = (
        vae.VAE(2, itr=10, batch_size=20, KL_param=1 / 16, save_dir=None, seed=0),
        gmm.GMM(3, save_dir=None, seed=0, n_init=1),
    )
    modules = [srk.Observation(x)]
    for module in learners:
        modules += [between(), module]
    return srk.Graph(chain(*filter(None, modules))[-1]), x


def test_a_graph_learns_the_same_with_a_text_saver(tmp_path):
    names = iter(range(9))
    plain, x = deep_graph()
    saved, _ = deep_graph(lambda: utils.TextSaver(tmp_path / "x.txt", f"saver{next(names)}"))
    for graph in (plain, saved):
        graph.fit(rounds=3, verbose=0)
    for expected, weight in zip(plain.get_weights()[:-1], saved.get_weights()[:-1], strict=True):
        assert_array_equal(weight, expected)
    assert_array_equal(saved.predict(x), plain.predict(x))


@pytest.mark.parametrize(
    "between", [lambda: utils.TextSaver("x.txt"), lambda: utils.GroupSum([0, 1])]
)
def test_what_comes_from_above_goes_down_at_once_and_is_taken_back_at_once(between):
    source, _, top = chain(Source(np.ones((2, 1))), between(), Top())
    update(*source._readers, top)
    assert_array_equal(source.get_backward_msg(), [[2.0], [2.0]])
    top.disconnect()
    assert source.get_backward_msg() is None


def test_modules_above_a_growing_buffer_forget_what_they_said_of_its_rows():
    x = np.random.default_rng(0).uniform(size=(60, 6))
    obs, buffer, vae1, gmm1 = chain(
        srk.Observation(x[:20]),
        utils.Buffer(),
        vae.VAE(2, itr=1, batch_size=20, save_dir=None),
        gmm.GMM(3, save_dir=None, n_init=1),
    )
    for start in (0, 20, 40):
        obs.set_data(x[start : start + 20])
        buffer.update()
        assert vae1.get_backward_msg() is None
        update(vae1, gmm1, vae1, gmm1)
    assert gmm1.posterior.shape == (60, 3)


@pytest.mark.parametrize("size", [-1, 5])
def test_a_buffer_collects_rows_of_files(tmp_path, size):
    x = np.arange(20.0).reshape(10, 2)
    np.save(tmp_path / "x.npy", x)
    rows = np.load(tmp_path / "x.npy", mmap_mode="r")
    obs, buffer = chain(srk.Observation(rows[:3]), utils.Buffer(size))
    for part in (rows[:3], rows[3:6], rows[6:]):
        obs.set_data(part)
        buffer.update()
    assert_array_equal(buffer.get_forward_msg(), x[-size:] if size > 0 else x)


# Files that hold no data --------------------------------------------------------------------


def holds(path, x):
    """Whether a file holds the numbers of an array."""
    content = path.read_bytes()
    return any(x.astype(kind).tobytes() in content for kind in ("float32", "float64"))


@pytest.mark.parametrize(
    "between",
    [lambda: utils.TextSaver("x.txt"), lambda: utils.Buffer(), lambda: utils.Buffer(40)],
    ids=["saver", "buffer", "full"],
)
@pytest.mark.parametrize("in_file", [False, True])
def test_data_that_are_passed_on_are_not_saved(tmp_path, between, in_file):
    x = np.random.default_rng(0).uniform(size=(40, 6))
    np.save(tmp_path / "x.npy", x)
    obs, module, gmm1 = chain(
        srk.Observation(tmp_path / "x.npy" if in_file else x),
        between(),
        gmm.GMM(2, save_dir=None, n_init=1),
    )
    graph, path = srk.Graph(gmm1, seed=0), tmp_path / "g.kserket"
    graph.fit(rounds=1, verbose=0, backup_dir=tmp_path / "backup")
    (backup,) = (tmp_path / "backup").iterdir()
    graph.save(path, include_data=in_file)
    assert not holds(path, x) and not holds(backup, x)
    assert_array_equal(srk.load_graph(path).predict(x), graph.predict(x))
    again = srk.load_graph(path, data={"obs": x})
    assert_array_equal(again[module.name].get_forward_msg(), x)
    for one in (graph, again):
        one.fit(rounds=1, verbose=0, schedule={"buffer": 0} if "buffer" in one.names else None)
    assert_array_equal(again["gmm"].posterior, graph["gmm"].posterior)
    if not in_file:
        graph.save(path)
        assert holds(path, x)


def test_data_that_a_buffer_alone_holds_are_not_lost(tmp_path):
    x = np.random.default_rng(0).uniform(size=(40, 6))
    obs, buffer, gmm1 = chain(srk.Observation(x[:20]), utils.Buffer(60), gmm.GMM(2, save_dir=None))
    graph, path = srk.Graph(gmm1), tmp_path / "g.kserket"
    graph.fit(rounds=1, verbose=0)
    obs.set_data(x[20:])
    graph.fit(rounds=1, verbose=0)
    with pytest.raises(ValueError, match="buffer collected data .* include_data=True"):
        graph.save(path, include_data=False)
    graph.save(path)
    assert_array_equal(srk.load_graph(path)["buffer"].get_forward_msg()[:40], x)


# Draws and served graphs --------------------------------------------------------------------


@pytest.mark.parametrize(
    "between", [lambda n: utils.TextSaver("x.txt", n), lambda n: utils.Buffer(-1, n)]
)
def test_graphs_with_modules_in_between_generate_and_export(tmp_path, between):
    names = iter("abc")
    graph, x = deep_graph(lambda: between(next(names)))
    graph.fit(rounds=1, verbose=0)
    drawn = graph.generate(4, component=1, seed=0)
    assert_array_equal(drawn, graph.generate(4, component=1, seed=0))
    assert drawn.shape == (4, 6)
    written = graph.export(tmp_path / "served")
    assert set(written) == {"classify", "encode", "decode", "generate"}
    served = tf.saved_model.load(str(tmp_path / "served"))
    part = x[:5].copy()
    part[0] = np.nan
    answer = served.signatures["classify"](tf.constant(part, "float32"))
    assert_allclose(answer["gmm"], graph.predict(part), atol=1e-4)


def test_a_text_saver_at_the_top_draws_classes_of_the_module_below(tmp_path):
    graph, _ = deep_graph()
    saver = utils.TextSaver(tmp_path / "classes.txt")
    saver.connect(graph["gmm"])
    graph = srk.Graph(saver)
    graph.fit(rounds=1, verbose=0)
    assert graph.generate(3, component=0, seed=0).shape == graph.generate(3).shape == (3, 6)
    assert "generate" in graph.export(tmp_path / "served")


def test_what_cannot_be_drawn_or_served_says_so(tmp_path):
    obs, saver = chain(srk.Observation(np.ones((2, 3))), utils.TextSaver(tmp_path / "x.txt"))
    saver.update()
    with pytest.raises(ValueError, match="draws nothing itself"):
        srk.Graph(saver).generate(2)
    _, groups = chain(srk.Observation(np.ones((2, 3))), utils.GroupSum([0, 0]))
    groups.update()
    with pytest.raises(TypeError, match="does not tell its rows"):
        srk.Graph(groups).generate(2)
    assert srk.Graph(groups).export(tmp_path / "served") == ["classify", "encode"]
