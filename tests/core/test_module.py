"""Modules: Serket's ten methods, names, connections, and what may be sent along them."""

import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

import kserket as srk
from kserket import gmm, mlda


class Sender(srk.Module):
    """Sends what it was given."""

    def __init__(self, message, name="sender"):
        super().__init__(name)
        self.set_forward_msg(message)


def probabilities(seed, num_samples=4, num_classes=3):
    return np.random.default_rng(seed).dirichlet(np.ones(num_classes), num_samples)


def normalized(array):
    return array / array.sum(axis=1, keepdims=True)


def test_the_methods_of_serkets_base_class():
    class Adder(srk.Module):
        def __init__(self, name="adder"):
            super().__init__(name, True)

        def update(self):
            x, y = self.get_observations()
            self.set_forward_msg(x + y)
            self.send_backward_msgs([x + y, y])

    one, two = srk.Observation(np.ones((3, 2))), srk.Observation(np.full((3, 2), 2.0))
    adder = Adder()
    adder.connect(one, two)
    adder.update()
    assert adder.get_name() == "module002_adder" and adder.learnable
    assert_array_equal(adder.get_forward_msg(), np.full((3, 2), 3.0))
    assert_array_equal(one.get_backward_msg(), np.full((3, 2), 3.0))
    assert_array_equal(two.get_backward_msg(), np.full((3, 2), 2.0))
    assert adder.get_backward_msg() is None
    adder.set_backward_msg(np.zeros((3, 2)))
    assert_array_equal(adder.get_backward_msg(), np.zeros((3, 2)))


def test_modules_are_numbered_from_000_and_the_numbers_start_over():
    names = [srk.Observation([[0.0]]).get_name(), srk.Module("a").get_name()]
    assert names == ["module000_obs", "module001_a"]
    srk.Module.reset_names()
    assert srk.Observation([[0.0]], name="x").get_name() == "module000_x"


@pytest.mark.parametrize("name", ["a/b", "..\\x", "a:b", 3])
def test_names_that_are_no_folder_names_are_refused(name):
    with pytest.raises(ValueError, match="name"):
        srk.Module(name)
    assert srk.Module("a").number == 0  # a refused module takes no number


class TestObservation:
    @pytest.mark.parametrize(
        "data",
        [
            [[1, 2], [3, 4]],
            np.ones((2, 3), "uint8"),
            np.ones((2, 4, 4, 1), "float16"),
            np.ones((2, 1), bool),
        ],
    )
    def test_takes_numbers(self, data):
        observation = srk.Observation(data)
        assert_array_equal(observation.get_forward_msg(), np.asarray(data))

    def test_takes_tensors(self):
        import tensorflow as tf

        assert srk.Observation(tf.ones((2, 3))).data.shape == (2, 3)

    def test_takes_memory_maps_as_they_are(self, tmp_path):
        np.save(tmp_path / "x.npy", np.ones((5, 2), "float32"))
        data = np.load(tmp_path / "x.npy", mmap_mode="r")
        assert srk.Observation(data).data is data

    @pytest.mark.parametrize(
        "data, error, text",
        [
            ([["a", "b"]], TypeError, "numbers"),
            ([[1.0, None]], TypeError, "numbers"),
            (np.ones((2, 2), complex), TypeError, "complex"),
            ([[1.0, 2.0], [3.0]], ValueError, "ragged"),
            ([], ValueError, "at least one sample"),
            (np.empty((0, 3)), ValueError, "at least one sample"),
            (np.empty((3, 0)), ValueError, "at least one sample"),
            (np.float64(3.0), ValueError, "at least one sample"),
            (np.arange(3.0), ValueError, "reshape"),
            ([[1.0, 2.0], [np.nan, 4.0]], ValueError, "1 value that.*row 1, column 0"),
            ([[1.0, np.inf], [np.nan, 4.0]], ValueError, "2 values that.*row 0, column 1"),
            ([[np.nan, np.nan], [0.0, 4.0]], ValueError, "allow_missing"),
        ],
    )
    def test_refuses_what_is_no_data(self, data, error, text):
        with pytest.raises(error, match=text):
            srk.Observation(data)

    def test_missing_rows_have_to_be_allowed(self):
        data = np.ones((3, 2))
        data[1] = np.nan
        observation = srk.Observation(data, allow_missing=True)
        assert np.isnan(observation.data[1]).all()
        data[0, 0] = np.nan  # part of a row
        with pytest.raises(ValueError, match="row 0, column 0. Remove or impute them, or pass"):
            srk.Observation(data)
        images = np.ones((3, 2, 2))
        images[0, 0] = np.nan  # cells are those of tables
        with pytest.raises(ValueError, match=r"row 0, column \(0, 0\). Remove or impute them.$"):
            srk.Observation(images, allow_missing=True)

    def test_masked_values_are_refused_or_missing_rows(self):
        data = np.ma.masked_array(np.arange(6).reshape(3, 2))
        assert type(srk.Observation(data).data) is np.ndarray  # nothing is masked
        data[1] = np.ma.masked
        with pytest.raises(ValueError, match="2 masked values, the first in row 1.*allow_missing"):
            srk.Observation(data)
        held = srk.Observation(data, allow_missing=True).data
        assert_array_equal(held, [[0, 1], [np.nan, np.nan], [4, 5]])
        data[2, 0] = np.ma.masked  # part of a row
        held = srk.Observation(data, allow_missing=True).data
        assert_array_equal(held, [[0, 1], [np.nan, np.nan], [np.nan, 5]])

    def test_new_data_are_checked_and_the_old_stay(self):
        observation = srk.Observation(np.ones((3, 2)))
        with pytest.raises(ValueError, match="not finite"):
            observation.set_data(np.full((3, 2), np.nan))
        assert_array_equal(observation.data, np.ones((3, 2)))

    def test_new_samples_take_back_what_was_said_of_the_old(self):
        first, second = srk.Observation(np.eye(3), "first"), srk.Observation(np.eye(3), "second")
        below, beside, top = Sender(np.eye(3), "below"), Sender(np.eye(3), "beside"), srk.Module()
        below.connect(first)
        beside.connect(second)
        top.connect(below, beside)

        def everybody_speaks():
            top.set_forward_msg(probabilities(0, 3))
            for module in (below, beside):
                module.set_forward_msg(np.eye(3))
                module.set_backward_msg(probabilities(1, 3))  # by hand
                module.send_backward_msgs([np.eye(3)])
            top.send_backward_msgs([probabilities(2, 3)] * 2)

        everybody_speaks()
        with pytest.raises(ValueError, match="holds 3 samples.*Received: 2"):
            first.set_data(np.ones((2, 3)), same_samples=True)
        first.set_data(np.eye(3) / 2, same_samples=True)
        assert_array_equal(first.data, np.eye(3) / 2)
        assert top.get_forward_msg() is not None and top in below.mailbox.backward

        first.set_data(np.ones((2, 3)))
        assert below.get_forward_msg() is None and top.get_forward_msg() is None
        assert first.get_backward_msg() is None and below.get_backward_msg() is None
        assert top not in beside.mailbox.backward  # what it said rests on the old samples
        assert beside.get_forward_msg() is not None and second.get_backward_msg() is not None

        first.set_data(np.eye(3))
        everybody_speaks()
        top.connect(beside)
        first.set_data(np.eye(3))
        assert top.get_forward_msg() is not None  # it no longer stands above

    def test_backward_messages_change_nothing(self):
        data = np.ones((3, 2))
        observation = srk.Observation(data)
        observation.set_backward_msg(np.zeros((3, 2)))
        observation.update()
        assert_array_equal(observation.get_forward_msg(), data)


class TestConnect:
    def test_needs_modules(self):
        module = srk.Module("a")
        with pytest.raises(ValueError, match="at least one"):
            module.connect()
        with pytest.raises(TypeError, match=r"Observation\(data\).*ndarray"):
            module.connect(np.ones((2, 2)))
        other = srk.Module("b")
        with pytest.raises(ValueError, match="twice"):
            module.connect(other, other)

    def test_refuses_cycles_and_keeps_the_connections(self):
        observation = srk.Observation([[1.0]])
        a, b, c = srk.Module("a"), srk.Module("b"), srk.Module("c")
        a.connect(observation)
        b.connect(a)
        c.connect(b)
        with pytest.raises(ValueError, match="cycle.*module001_a.*module003_c.*module001_a"):
            a.connect(c)
        with pytest.raises(ValueError, match="cycle"):
            a.connect(a)
        assert a.inputs == (observation,)

    def test_what_is_not_connected_has_nothing_to_read(self):
        with pytest.raises(RuntimeError, match=r"module000_gmm has nothing to read.*connect"):
            srk.Module("gmm").get_observations()

    def test_what_was_not_updated_has_sent_nothing(self):
        below, above = srk.Module("below"), srk.Module("above")
        above.connect(below)
        with pytest.raises(RuntimeError, match="module000_below has sent nothing to module001"):
            above.get_observations()

    def test_lengths_must_agree(self):
        reader = srk.Module("mlda")
        reader.connect(srk.Observation(np.ones((100, 2))), srk.Observation(np.ones((90, 2)), "b"))
        with pytest.raises(ValueError, match="100 samples.*module001_obs.*90 from module002_b"):
            reader.get_observations()

    def test_a_second_call_takes_the_first_ones_messages_back(self):
        one, two = Sender(probabilities(0), "one"), Sender(probabilities(1), "two")
        reader = srk.Module("reader")
        reader.connect(one)
        reader.send_backward_msgs([probabilities(2)])
        assert one.get_backward_msg() is not None
        reader.connect(two)
        assert one.get_backward_msg() is None and reader.inputs == (two,)

    def test_disconnect(self):
        sender, reader = Sender(probabilities(0)), srk.Module("reader")
        reader.connect(sender)
        reader.send_backward_msgs([probabilities(2)])
        reader.disconnect()
        assert sender.get_backward_msg() is None and reader.inputs == ()

    def test_a_reader_left_behind_by_its_namesake_is_told(self):
        sender = Sender(probabilities(0))
        first, second = srk.Module("gmm"), srk.Module("gmm")
        first.connect(sender)
        first.send_backward_msgs([probabilities(1)])
        with pytest.warns(UserWarning, match="module001_gmm.*module002_gmm.*disconnect"):
            second.connect(sender)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            srk.Module("other").connect(sender)


class TestMessages:
    def test_shapes_return_as_they_came(self):
        sender, reader = Sender(np.ones((100, 3)), "vae"), srk.Module("gmm")
        reader.connect(sender)
        for shape in [(90, 3), (100, 2), (100,), (100, 3, 1)]:
            with pytest.raises(ValueError) as error:
                reader.send_backward_msgs([np.ones(shape)])
            for words in ("module001_gmm", "module000_vae", str(shape), "(100, 3)"):
                assert words in str(error.value)
        assert sender.get_backward_msg() is None

    def test_one_message_for_each_input_or_none_is_sent(self):
        senders = [Sender(np.ones((4, 2)), "a"), Sender(np.ones((4, 3)), "b")]
        reader = srk.Module("reader")
        reader.connect(*senders)
        with pytest.raises(ValueError, match="1 backward messages.*2 modules"):
            reader.send_backward_msgs([np.ones((4, 2))])
        with pytest.raises(ValueError, match="module001_b"):
            reader.send_backward_msgs([np.ones((4, 2)), np.ones((4, 2))])
        assert senders[0].get_backward_msg() is None  # nothing went out
        reader.send_backward_msgs([None, np.ones((4, 3))])
        assert senders[0].get_backward_msg() is None
        assert senders[1].get_backward_msg() is not None

    def test_classes_must_come_back_as_probabilities(self):
        sender, reader = Sender(srk.Categorical(probabilities(0)), "gmm"), srk.Module("mm")
        reader.connect(sender)
        with pytest.raises(ValueError, match="module001_mm sent module000_gmm.*probabilities"):
            reader.send_backward_msgs([2.0 * probabilities(1)])
        assert sender.get_backward_msg() is None

    def test_several_readers_multiply_and_nobody_hears_itself(self):
        evidence = probabilities(0)
        sender = Sender(srk.Categorical(evidence))
        told = {srk.Module(name): probabilities(seed) for seed, name in enumerate("abc", start=1)}
        for reader, message in told.items():
            reader.connect(sender)
            reader.send_backward_msgs([message])
        assert_allclose(
            np.asarray(sender.get_backward_msg()), normalized(np.prod(list(told.values()), axis=0))
        )
        for reader in told:
            others = np.prod([told[other] for other in told if other is not reader], axis=0)
            (heard,) = reader.get_observations()
            assert_allclose(np.asarray(heard), normalized(evidence * others))

    def test_a_later_message_replaces_the_readers_own(self):
        sender, reader = Sender(probabilities(0)), srk.Module("reader")
        reader.connect(sender)
        reader.send_backward_msgs([probabilities(1)])
        reader.send_backward_msgs([probabilities(2)])
        assert_allclose(np.asarray(sender.get_backward_msg()), probabilities(2))

    def test_a_message_set_by_hand_stands_beside_the_readers(self):
        sender, reader = Sender(probabilities(0)), srk.Module("reader")
        reader.connect(sender)
        reader.send_backward_msgs([probabilities(1)])
        sender.set_backward_msg(probabilities(2))
        expected = normalized(probabilities(1) * probabilities(2))
        assert_allclose(np.asarray(sender.get_backward_msg()), expected)
        (heard,) = reader.get_observations()
        assert_allclose(np.asarray(heard), normalized(probabilities(0) * probabilities(2)))
        sender.set_backward_msg(None)
        assert sender.get_backward_msg() is None
        (heard,) = reader.get_observations()
        assert_allclose(np.asarray(heard), probabilities(0))

    def test_reading_without_sending_back(self):
        sender, reader = Sender(probabilities(0)), srk.Module("reader")
        reader.connect(sender, backward=False)
        reader.send_backward_msgs([probabilities(1)])
        assert sender.get_backward_msg() is None and not reader.sends_back

    def test_plain_lists_are_messages_too(self):
        module = srk.Module("a")
        module.set_forward_msg([[1.0, 2.0]])
        module.set_backward_msg([[3.0, 4.0]])
        assert_array_equal(module.get_backward_msg(), [[3.0, 4.0]])


def test_what_is_no_message_is_refused():
    sender = Sender(probabilities(0))
    masked = np.ma.masked_array(probabilities(1), mask=np.eye(4, 3, dtype=bool))
    name = sender.get_name()
    for wrong, error, text in [
        (masked, ValueError, "masked array with 3 masked values"),
        (probabilities(1) * 1j, TypeError, "complex128"),
        (probabilities(1).astype(str), TypeError, "text"),
        (sparse.csr_array(probabilities(1)), TypeError, "toarray"),
        ([["a"]], TypeError, "text"),
        ("abc", TypeError, "'abc'"),
        (3.0, ValueError, "one row per sample"),
    ]:
        with pytest.raises(error, match=f"A message to {name}.*{text}"):
            sender.set_backward_msg(wrong)
        with pytest.raises(error, match=f"The forward message of {name}.*{text}"):
            sender.set_forward_msg(wrong)
    assert sender.get_backward_msg() is None
    assert_array_equal(sender.get_forward_msg(), probabilities(0))


class InPlace(srk.Module):
    """A user's module that works in the arrays it reads."""

    def update(self):
        (x,), prior = self.get_observations(), self.get_backward_msg()
        self.types = type(x), type(prior)
        x -= x.mean(axis=0)
        x[x < 0] = 0
        if prior is not None:
            prior[:] = 7
        self.set_forward_msg(x)

    def infer(self, inputs, prior):
        inputs[0] *= 2
        return srk.Inference(inputs[0], [None])


def test_modules_of_users_get_arrays_that_are_their_own():
    data = np.random.default_rng(0).random((6, 3))
    before = data.copy()
    obs = srk.Observation(data)
    classes = Sender(srk.Categorical(probabilities(0, 6)))
    for source, kept in ((obs, before), (classes, probabilities(0, 6))):
        module, other = InPlace("first"), InPlace("second")
        for reader in (module, other):
            reader.connect(source)
            reader.update()
        assert_array_equal(module.get_forward_msg(), other.get_forward_msg())
        assert_allclose(source.get_forward_msg(), kept)
        module.set_backward_msg(np.ones((6, 3)))
        module.update()
        assert module.types == (np.ndarray, np.ndarray)
        assert_array_equal(module.get_backward_msg(), np.ones((6, 3)))
    assert_array_equal(data, before)
    messages, prior = module.get_messages()  # with the kind, and what it knows beside the array
    assert messages[0] is classes.get_forward_msg() and prior.shape == (6, 3)


def test_a_module_whose_constructor_leaves_out_that_of_its_base_is_named():
    class Forgetful(srk.Module):
        def __init__(self):
            self.size = 3

    class Learner(srk.LearningModule):
        def __init__(self):
            self.size = 3

    obs = srk.Observation([[1.0], [2.0]])
    for made in (Forgetful(), Learner()):
        for use, given in ((made.connect, [obs]), (srk.Graph, [made]), (made.get_name, [])):
            with pytest.raises(AttributeError, match=r"has no `\w+`.*super\(\).__init__\(name\)"):
                use(*given)
    with pytest.raises(AttributeError, match="'Observation' object has no attribute 'nothing'"):
        _ = obs.nothing


def test_an_error_in_a_users_infer_names_the_module_and_missing_rows():
    class Strict(srk.Module):
        def update(self):
            self.set_forward_msg(self.get_observations()[0])

        def infer(self, inputs, prior):
            if np.isnan(inputs[0]).any():
                raise ValueError("Input X contains NaN.")
            return srk.Inference(inputs[0], [prior])

    strict, top = Strict("strict"), gmm.GMM(1, save_dir=None)
    strict.connect(srk.Observation(np.eye(3)))
    top.connect(strict)
    graph = srk.Graph(top, seed=0)
    graph.fit(rounds=1, verbose=0)
    with pytest.raises(ValueError, match="Input X") as caught:
        graph.predict(np.array([[1.0, 0.0, 0.0], [np.nan] * 3]))
    (note,) = caught.value.__notes__
    assert "_strict" in note and "rows of NaN" in note


def test_prediction_hands_users_modules_arrays_of_their_own():
    data = np.random.default_rng(0).random((6, 3))
    before, module = data.copy(), InPlace("own")
    module.connect(srk.Observation(data))
    assert_allclose(srk.Graph(module).predict(data), 2 * before)
    assert_array_equal(data, before)


def test_data_and_messages_cannot_be_written_through():
    data = np.random.default_rng(0).random((6, 3))
    obs, user = srk.Observation(data), InPlace("user")
    user.connect(obs)
    user.update()
    library = gmm.GMM(2, itr=1, save_dir=None, seed=0)
    library.connect(obs)
    (seen,) = library.get_observations()
    for array in (obs.data, obs.get_forward_msg(), user.get_forward_msg(), seen):
        with pytest.raises(ValueError, match="read-only"):
            array[0, 0] = 5.0
    data[0, 0] = 0.25  # the user's own array stays the user's
    assert obs.data[0, 0] == 0.25


def test_a_learning_module_that_wraps_update_reads_messages_and_hands_out_arrays():
    class Wrapped(gmm.GMM):
        def update(self):
            super().update()
            self.seen = self.get_observations()[0]

    mean = np.random.default_rng(0).normal(size=(20, 2))
    wrapped, plain = (kind(2, itr=3, save_dir=None, seed=0) for kind in (Wrapped, gmm.GMM))
    for module in (wrapped, plain):
        module.connect(Sender(srk.Gaussian(mean, np.full((20, 2), 0.5))))
        module.update()
    assert type(wrapped.seen) is np.ndarray
    assert_array_equal(wrapped.posterior, plain.posterior)  # the variance was read


def test_mode_trainable_and_learnable_are_checked_and_agree():
    module = gmm.GMM(2, save_dir=None)
    assert module.learnable
    with pytest.raises(
        ValueError, match="`mode` must be 'learn' or 'recog'. Received: mode='lern'"
    ):
        module.mode = "lern"
    with pytest.raises(ValueError, match="`trainable` must be True or False. Received: 'False'"):
        module.trainable = "False"
    assert module.mode == "learn" and module.trainable
    module.mode = "recog"
    assert not module.learnable
    module.mode, module.trainable = "learn", False
    assert not module.learnable
    with pytest.raises(AttributeError, match="learnable"):
        module.learnable = True
    assert not srk.Observation([[1.0]]).learnable


def test_a_graph_gives_its_seed_to_modules_without_one_of_their_own():
    def mixture(seed=None, name="gmm"):
        module = gmm.GMM(2, itr=1, save_dir=None, seed=seed, name=name)
        module.connect(srk.Observation(np.random.default_rng(0).normal(size=(20, 2))))
        return module

    module = mixture()
    srk.Graph(module, seed=0)
    srk.Graph(module, seed=1)  # another graph gave the seed before
    assert module.seed == 1
    srk.Graph(module).save("graph.kserket")
    loaded = srk.load_graph("graph.kserket")["gmm"]
    srk.Graph(loaded, seed=2)
    assert loaded.seed == 2
    drawn = mixture()
    drawn.update()  # draws a seed
    srk.Graph(drawn, seed=5)
    assert drawn.seed == 5
    own = mixture(seed=3)
    with pytest.warns(UserWarning, match="keeps the seed=3 .* the seed=1 of this graph"):
        srk.Graph(own, seed=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        srk.Graph(own, seed=3)
    own.seed = None
    srk.Graph(own, seed=1)
    assert own.seed == 1


@pytest.mark.parametrize("how", ["recog", "frozen", "fitted"])
def test_a_modality_that_nobody_observed_is_inferred_from_the_others(how):
    rng = np.random.default_rng(0)
    classes = np.arange(60) % 3
    b, c = rng.normal(size=(60, 3)) + 5 * np.eye(3)[classes], rng.poisson(9 * np.eye(3)[classes])

    def make(b, c, mode="learn"):
        srk.Module.reset_names()
        seen = srk.Observation(b, name="b", allow_missing=True)
        below = gmm.GMM(3, mode=mode, save_dir="run")
        top = mlda.MLDA(3, mode=mode, save_dir="run")
        below.connect(seen)
        top.connect(below, srk.Observation(c, name="c"))
        return srk.Graph(top, seed=0), seen

    graph, seen = make(b, c)
    graph.fit(rounds=2, verbose=0)
    expected = graph.predict({"b": None, "c": c})
    means = graph["gmm"].model.means
    nothing = np.full_like(b, np.nan)
    if how == "recog":
        graph, _ = make(nothing, c, mode="recog")
    else:
        graph["gmm"].trainable = how == "fitted"
        graph["mlda"].trainable = False
        seen.set_data(nothing)
    graph.fit(rounds=1, verbose=0)
    assert_allclose(graph["mlda"].posterior, expected, atol=1e-4)
    assert_allclose(graph["gmm"].model.means, means)
    with pytest.raises(ValueError, match="To learn for the first time it needs one"):
        make(nothing, c)[0].fit(rounds=1, verbose=0)
