"""Messages: probabilities and densities multiply as they should, and act as arrays."""

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from kserket.core import messages
from kserket.core.mailbox import DataBox, Mailbox
from kserket.core.messages import Categorical, Deferred, Gaussian, Mixture


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def every_kind(rng):
    return {
        "categorical": Categorical(rng.dirichlet(np.ones(3), 5)),
        "gaussian": Gaussian(rng.normal(size=(5, 3)), rng.random((5, 3)) + 0.1),
        "mixture": Mixture(
            rng.dirichlet(np.ones(2), 5), rng.normal(size=(2, 3)), np.stack([np.eye(3)] * 2)
        ),
        "deferred": Deferred((5, 3), lambda: np.arange(15.0).reshape(5, 3)),
    }


@pytest.mark.parametrize("kind", ["categorical", "gaussian", "mixture", "deferred"])
def test_acts_as_its_array(kind, rng):
    message = every_kind(rng)[kind]
    array = np.array(message)
    assert message.shape == np.shape(message) == (5, 3)
    assert len(message) == 5 and message.ndim == 2 and message.dtype == array.dtype
    assert_array_equal(np.asarray(message), array)
    assert_array_equal(message[1:3, 0], array[1:3, 0])
    assert_array_equal(2.0 * message - message / 4.0, 2.0 * array - array / 4.0)
    assert_array_equal(np.exp(message), np.exp(array))
    assert_array_equal(message + message, 2 * array)
    assert_array_equal(np.sum(message, axis=1), array.sum(axis=1))
    assert_array_equal(np.mean(message, axis=0), array.mean(axis=0))
    assert_array_equal(np.concatenate([message, message]), np.concatenate([array, array]))
    assert_array_equal(np.argmax(message, axis=1), array.argmax(axis=1))
    assert_allclose(np.asarray(message.take(np.array([4, 0]))), array[[4, 0]], rtol=1e-14)
    assert np.asarray(message, dtype="float32").dtype == "float32"


@pytest.mark.parametrize("kind", ["categorical", "gaussian", "mixture", "deferred"])
def test_has_the_methods_of_arrays_that_leave_them_as_they_are(kind, rng):
    message = every_kind(rng)[kind]
    array = np.asarray(message)
    assert_array_equal(message.T, array.T)
    assert_array_equal(message.argmax(axis=1), array.argmax(axis=1))
    assert_array_equal((message.T / message.sum(1)).T, (array.T / array.sum(1)).T)
    assert message.tolist() == array.tolist() and message.size == array.size
    mine = message.copy()
    mine[0] = 7.0  # a new array
    assert_array_equal(np.asarray(message), array)
    for name in ("sort", "fill", "put", "resize", "tocsr", "__array_interface__"):
        assert not hasattr(message, name)


@pytest.mark.parametrize("kind", ["categorical", "gaussian", "mixture", "deferred"])
def test_cannot_be_written_through(kind, rng):
    message = every_kind(rng)[kind]
    before = np.array(message)
    with pytest.raises(ValueError, match="read-only"):
        np.asarray(message)[0] = 7.0
    with pytest.raises(TypeError):
        message[0] = 7.0
    with pytest.raises(ValueError, match="read-only"):
        message += 1.0
    assert_array_equal(np.asarray(message), before)


@pytest.mark.parametrize("kind", ["categorical", "gaussian", "mixture", "deferred"])
def test_survives_pickling(kind, rng):
    message = every_kind(rng)[kind]
    again = pickle.loads(pickle.dumps(message))
    assert type(again) is type(message) and again.shape == message.shape
    assert_array_equal(np.asarray(again), np.asarray(message))
    with pytest.raises(ValueError, match="read-only"):
        np.asarray(again)[0] = 7.0


def test_deferred_is_computed_once_and_only_when_read():
    calls = []

    def compute():
        calls.append(1)
        return np.ones((4, 2))

    message = Deferred((4, 2), compute)
    assert np.shape(message) == (4, 2) and len(message) == 4 and not calls
    assert float(np.sum(message)) == 8.0 and message[0, 0] == 1.0
    assert len(calls) == 1


def test_mixture_as_an_array_is_the_expected_mean(rng):
    responsibilities, means = rng.dirichlet(np.ones(4), 6), rng.normal(size=(4, 2))
    message = Mixture(responsibilities, means, np.stack([np.eye(2)] * 4))
    expected = [sum(r * m for r, m in zip(row, means, strict=True)) for row in responsibilities]
    assert_allclose(np.asarray(message), expected)


class TestCategorical:
    def test_product_is_the_normalized_product(self, rng):
        parts = [rng.dirichlet(np.ones(4), 7) for _ in range(3)]
        together = messages.product([Categorical(parts[0]), parts[1], Categorical(parts[2])])
        expected = parts[0] * parts[1] * parts[2]
        assert_allclose(together.probs, expected / expected.sum(axis=1, keepdims=True), rtol=1e-12)
        assert_allclose(np.exp(together.log_probs), together.probs, rtol=1e-12)

    def test_very_sure_messages_keep_their_order(self):
        # What data of 784 dimensions say, and a message that rules the first class out.
        evidence = Categorical.from_log([[0.0, -2000.0, -2003.0]])
        together = messages.product([evidence, Categorical([[0.0, 0.5, 0.5]])])
        assert_allclose(together.probs[0, 2] / together.probs[0, 1], np.exp(-3.0), rtol=1e-6)
        assert together.probs[0, 0] == 0.0

    def test_contradictions_tie_and_are_never_nan(self):
        one, other = Categorical([[1.0, 0.0, 0.0]]), Categorical([[0.0, 1.0, 0.0]])
        assert_allclose(messages.product([one, other]).probs[0, :2], 0.5)
        impossible = Categorical.from_log([[-np.inf] * 3])
        assert_allclose(impossible.probs, 1 / 3)
        many = messages.product([one, other, Categorical([[0.0, 0.0, 1.0]])] * 5)
        assert_allclose(many.probs, 1 / 3)

    def test_log_probs_are_finite_and_independent_of_a_constant(self, rng):
        logs = rng.normal(size=(5, 3)) * 50
        moved = Categorical.from_log(logs + rng.normal(size=(5, 1)) * 1e6)
        assert_allclose(moved.probs, Categorical.from_log(logs).probs, rtol=1e-6)
        assert np.isfinite(Categorical([[1.0, 0.0]]).log_probs).all()

    @pytest.mark.parametrize(
        "probs",
        [
            [[0.5, 0.6]],
            [[1.5, -0.5]],
            [[np.nan, 1.0]],
            [[np.inf, 0.0]],
            [[0.0, 0.0]],
            [0.5, 0.5],
            np.empty((3, 0)),
        ],
    )
    def test_refuses_what_are_no_probabilities(self, probs):
        with pytest.raises(ValueError, match="Categorical"):
            Categorical(probs)

    @pytest.mark.parametrize(
        ("row", "said"),
        [([2.0, 1.0], "Divide each row"), ([np.nan] * 2, "`missing`"), ([-2.0, 3.0], "from_log")],
    )
    def test_says_how_to_mend_a_row(self, row, said):
        with pytest.raises(ValueError, match=f"the first is row 1.*{said}"):
            Categorical([[0.5, 0.5], row])

    @pytest.mark.parametrize("logs", [[[np.nan, 0.0]], [[np.inf, 0.0]], [0.0, 0.0]])
    def test_refuses_what_are_no_log_probabilities(self, logs):
        with pytest.raises(ValueError, match="Categorical"):
            Categorical.from_log(logs)

    def test_error_tells_row_and_sum(self):
        with pytest.raises(ValueError, match=r"1 of 3 rows.*row 1.*sum 1\.5"):
            Categorical([[0.5, 0.5], [1.0, 0.5], [0.2, 0.8]])

    def test_rows_as_text_files_hold_them_are_taken(self):
        rounded = Categorical([[0.3333, 0.3333, 0.3333]])
        assert_allclose(rounded.probs.sum(axis=1), 1.0, rtol=1e-12)

    def test_missing_rows_say_nothing(self, rng):
        probs = rng.dirichlet(np.ones(3), 2)
        message = Categorical(np.vstack([probs[0], [np.nan] * 3]), missing=[False, True])
        assert_allclose(message.probs[1], 1 / 3)
        together = messages.product([message, probs])
        assert_allclose(together.probs[1], probs[1], rtol=1e-12)
        assert together.missing is None
        both = messages.product([message, message])
        assert_array_equal(both.missing, [False, True])
        assert_array_equal(messages.missing_rows(message.take([1, 0])), [True, False])


class TestGaussian:
    def test_product_adds_precisions(self, rng):
        means, variances = rng.normal(size=(3, 6, 2)), rng.random((3, 6, 2)) + 0.1
        together = messages.product([Gaussian(m, v) for m, v in zip(means, variances, strict=True)])
        precision = (1 / variances).sum(axis=0)
        assert_allclose(together.variance, 1 / precision, rtol=1e-12)
        assert_allclose(together.mean, (means / variances).sum(axis=0) / precision, rtol=1e-12)

    def test_arrays_and_mixtures_stand_for_unit_variance(self, rng):
        mixture, array = every_kind(rng)["mixture"], rng.normal(size=(5, 3))
        together = messages.product([mixture, array])
        assert_allclose(together.mean, (np.asarray(mixture) + array) / 2)
        assert_allclose(together.variance, 0.5)

    def test_rows_of_infinite_variance_say_nothing(self, rng):
        mean, variance = rng.normal(size=(2, 3)), np.ones((2, 3))
        variance[1] = np.inf
        message = Gaussian(mean, variance)
        assert_array_equal(message.missing, [False, True])
        together = messages.product([message, Gaussian(mean, np.full((2, 3), 2.0))])
        assert_allclose(together.mean[1], mean[1])
        assert_allclose(together.variance[1], 2.0)
        both = messages.product([message, message])
        assert np.isfinite(both.mean).all() and np.isinf(both.variance[1]).all()

    @pytest.mark.parametrize("variance", [0.0, -1.0, np.nan])
    def test_refuses_variance_that_is_not_positive(self, variance):
        with pytest.raises(ValueError, match="positive"):
            Gaussian(np.zeros((2, 2)), np.full((2, 2), variance))

    def test_refuses_shapes_that_do_not_agree(self):
        with pytest.raises(ValueError, match="one shape"):
            Gaussian(np.zeros((2, 2)), np.ones((2, 3)))
        with pytest.raises(ValueError, match=r"\(N, D\)"):
            Gaussian(np.zeros(3))
        with pytest.raises(ValueError, match="Mixture"):
            Mixture(np.ones((2, 1)), np.zeros((2, 3)), np.zeros((2, 3, 3)))
        with pytest.raises(ValueError, match="Covariances"):
            Mixture(np.ones((2, 1)), np.zeros((1, 3)), np.zeros((1, 3)))


class TestProduct:
    def test_of_nothing_and_of_one(self):
        message = Categorical([[1.0]])
        assert messages.product([]) is None
        assert messages.product([None, message, None]) is message

    def test_refuses_different_shapes(self):
        with pytest.raises(ValueError, match="one shape"):
            messages.product([np.ones((3, 1)), np.ones((3, 2))])

    def test_refuses_classes_times_what_are_no_classes(self):
        with pytest.raises(ValueError, match="Categorical"):
            messages.product([Categorical([[0.5, 0.5]]), np.array([[3.0, 4.0]])])

    def test_reads_a_deferred_message_as_what_it_holds(self):
        deferred = Deferred((1, 2), lambda: np.array([[0.25, 0.75]]))
        together = messages.product([Categorical([[0.5, 0.5]]), deferred])
        assert_allclose(together.probs, [[0.25, 0.75]])


class TestMailbox:
    def test_nobody_hears_itself(self, rng):
        evidence, *others = (rng.dirichlet(np.ones(3), 4) for _ in range(4))
        box = Mailbox(Categorical(evidence))
        box.backward = dict(zip("abc", others, strict=True))
        for reader, own in box.backward.items():
            product = evidence.copy()
            for message in others:
                product *= 1.0 if message is own else message
            heard = np.asarray(box.forward_for(reader))
            assert_allclose(heard, product / product.sum(axis=1, keepdims=True), rtol=1e-12)

    def test_the_cavity_leaves_out_and_does_not_divide(self):
        # Dividing by the reader's own message would be 0 / 0 here.
        box = Mailbox(Categorical([[0.3, 0.7]]))
        box.backward = {"a": Categorical([[0.0, 1.0]])}
        assert_allclose(np.asarray(box.forward_for("a")), [[0.3, 0.7]])

    def test_vectors_and_data_go_up_as_they_are(self, rng):
        gaussian = Gaussian(rng.normal(size=(4, 2)))
        box = Mailbox(gaussian)
        box.backward = {"a": rng.normal(size=(4, 2)), "b": rng.normal(size=(4, 2))}
        assert box.forward_for("a") is gaussian
        data = rng.dirichlet(np.ones(3), 4)
        box = DataBox(data)
        box.backward = {"a": data}
        assert box.forward_for("b") is data and box.prior() is None


class TestChange:
    def test_of_classes_is_the_total_variation(self):
        before, after = Categorical([[1.0, 0.0], [0.5, 0.5]]), Categorical([[0.0, 1.0], [0.5, 0.5]])
        assert messages.change(before, after) == pytest.approx(0.5)

    def test_of_vectors_does_not_depend_on_units(self, rng):
        before, after = rng.normal(size=(2, 50, 3))
        change = messages.change(before, after)
        assert messages.change(1e6 * before, 1e6 * after) == pytest.approx(change)
        assert messages.change(after, after.copy()) == 0.0

    def test_of_something_new_is_infinite(self):
        assert messages.change(None, np.ones((2, 2))) == np.inf
        assert messages.change(np.ones((3, 2)), np.ones((2, 2))) == np.inf
        assert messages.change(None, None) == 0.0


def test_missing_rows_of_arrays():
    array = np.zeros((3, 2, 2))
    assert messages.missing_rows(array) is None
    array[1, 0] = np.nan  # not the whole sample
    assert messages.missing_rows(array) is None
    array[1] = np.nan
    assert_array_equal(messages.missing_rows(array), [False, True, False])
    assert messages.missing_rows(np.zeros((3, 2), "int32")) is None
