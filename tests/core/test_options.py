"""Options are checked where they are given, in one way for all."""

import numpy as np
import pytest

import kserket as srk
from kserket.core import options

COUNTED = {
    "num_components": lambda value: srk.GaussianMixture(value),
    "num_topics": lambda value: srk.MultimodalLDA(value),
    "num_states": lambda value: srk.MarkovChain(value),
    "latent_dim": lambda value: srk.VariationalAutoencoder(value),
    "n_init": lambda value: srk.MultimodalLDA(3, n_init=value),
    "itr": lambda value: srk.gmm.GMM(3, itr=value),
    "num_samp": lambda value: srk.mm.MarkovModel(value),
    "batch_size": lambda value: srk.vae.VAE(2, batch_size=value),
}


@pytest.mark.parametrize("value", [3, 3.0, np.int64(3), np.float32(3), np.array(3)])
def test_any_whole_number_is_a_count(value):
    options.check_positive_int(number=value)
    assert srk.GaussianMixture(value).num_components == 3


def test_where_a_mixture_chooses_its_starts_no_number_is_needed():
    assert srk.GaussianMixture(3).get_config()["n_init"] is None
    for model in (srk.MultimodalLDA, srk.MarkovChain):
        with pytest.raises(ValueError, match="`n_init` must be a positive integer"):
            model(3, n_init=None)


@pytest.mark.parametrize("value", [0, -1, 2.5, True, np.True_, "3", np.nan, np.inf, [3]], ids=repr)
@pytest.mark.parametrize("option", COUNTED)
def test_nothing_else_is(option, value):
    with pytest.raises(ValueError, match=f"`{option}` must be a positive integer"):
        COUNTED[option](value)


def test_a_wrong_word_is_told_with_the_right_ones():
    with pytest.raises(ValueError, match="`mode` must be 'learn' or 'recog'. Received: mode='on'"):
        options.check_choice("mode", "on", "learn", "recog")
    options.check_choice("mode", "recog", "learn", "recog")


@pytest.mark.parametrize(
    "labels, kind",
    [
        (["cat", "dog", "cat"], "U"),
        (np.array(["cat", "dog", "cat"], dtype=object), "U"),
        (np.array([3, 1, 2], dtype=object), "i"),
        (np.array([[3], [1], [2]], dtype=object), "i"),
        (np.array([3, 1.5, 2], dtype=object), "f"),
        (np.array([True, False, True], dtype=object), "b"),
        (np.array([np.int32(3), 1, 2], dtype=object), "i"),
        ([2, 0, 1], "i"),
    ],
)
def test_labels_of_one_kind_become_an_array_of_it(labels, kind):
    labels = options.check_labels(labels)
    assert labels.shape == (3,) and labels.dtype.kind == kind


@pytest.mark.parametrize("missing", [None, float("nan"), np.nan, np.datetime64("NaT"), object()])
@pytest.mark.parametrize("others", [[1, 2], ["cat", "dog"]])
def test_missing_labels_are_told_where_they_are_given(others, missing):
    with pytest.raises(ValueError, match="every sample. Received: .* at index 2"):
        srk.gmm.GMM(3, category=np.array([*others, missing], dtype=object))
    if not isinstance(others[0], int) or missing is None:  # a list
        with pytest.raises(ValueError, match="`category` must"):
            srk.gmm.GMM(3, category=[*others, missing])


def test_labels_of_several_kinds_are_refused():
    with pytest.raises(ValueError, match="not both"):
        options.check_labels(np.array([1, "1"], dtype=object))
    with pytest.raises(ValueError, match="not both"):
        options.check_labels([1, "1"])


@pytest.mark.parametrize("value", [None, "1", [1.0], np.ones(1), np.nan, -1, True], ids=repr)
def test_amounts_are_numbers(value):
    for allow_zero in (False, True):
        with pytest.raises(ValueError, match="`rate` must be a"):
            options.check_positive(allow_zero=allow_zero, rate=value)


def test_zero_is_an_amount_where_it_may_be():
    options.check_positive(allow_zero=True, rate=0)
    with pytest.raises(ValueError, match="`rate` must be a positive number. Received: 0"):
        options.check_positive(rate=0)


@pytest.mark.parametrize("seed", [[1], np.nan, np.inf, 1.5, -1, "1", True, {}], ids=repr)
def test_seeds_are_whole_numbers(seed):
    with pytest.raises(ValueError, match="`seed` must be an integer >= 0 or None"):
        options.check_seed(seed)


def test_masked_labels_are_refused():
    labels = np.ma.array([0, 1, 2], mask=[False, True, False])
    with pytest.raises(ValueError, match="`category` is a masked array with 1 masked label"):
        options.check_labels(labels)
    assert options.check_labels(np.ma.array([0, 1, 2])).tolist() == [0, 1, 2]


@pytest.mark.parametrize("size", [2.0, 2.5, -1, "2", None, True, [1], np.nan], ids=repr)
def test_sizes_are_whole_numbers_from_zero(size):
    options.check_nonnegative_int(num_samples=0, epochs=np.int64(3))
    with pytest.raises(ValueError, match="`num_samples` must be an integer >= 0. Received"):
        options.check_nonnegative_int(num_samples=size)
