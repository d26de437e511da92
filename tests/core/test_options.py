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


@pytest.mark.parametrize(
    "missing", [None, float("nan"), np.nan, np.datetime64("NaT", "s"), object()]
)
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


ROWS = np.random.default_rng(0).dirichlet([1, 1, 1], 30)
MODELS = {
    "GaussianMixture": srk.GaussianMixture(2, n_init=1),
    "MarkovChain": srk.MarkovChain(3),
    "MultimodalLDA": srk.MultimodalLDA(2),
    "VariationalAutoencoder": srk.VariationalAutoencoder(2),
}


@pytest.mark.parametrize(
    "method, wrong, right",
    [
        ("fit", "epoch", "epochs"),
        ("fit", "max_iter", "epochs"),
        ("fit", "rounds", "epochs"),
        ("fit", "callback", "callbacks"),
        ("predict", "batchsize", "batch_size"),
        ("sample", "random_state", "seed"),
        ("evaluate", "returndict", "return_dict"),
    ],
)
@pytest.mark.parametrize("model", MODELS)
def test_methods_of_models_suggest_the_option_that_was_meant(model, method, wrong, right):
    with pytest.raises(
        TypeError, match=f"^{model}.{method} has no option `{wrong}`. Did you mean `{right}`"
    ):
        getattr(MODELS[model], method)(ROWS, **{wrong: 3})


@pytest.mark.parametrize(
    "module, names",
    [
        (srk.gmm.GMM(3, save_dir=None), ["K", "tolerance", "n_init", "warm_start"]),
        (srk.mlda.MLDA(3, save_dir=None), ["K", "tolerance", "weights", "alpha"]),
        (srk.mm.MarkovModel(save_dir=None), ["num_samp", "tolerance", "transition_prior"]),
        (srk.vae.VAE(2, save_dir=None), ["latent_dim", "likelihood", "hidden_encoder_dim"]),
    ],
    ids=lambda part: type(part).__name__ if isinstance(part, srk.Module) else "",
)
def test_an_option_that_is_fixed_cannot_be_set_later(module, names):
    for name in names:
        before = getattr(module, name, None)
        with pytest.raises(AttributeError, match=f"`{name}` of a {type(module).__name__} is fixed"):
            setattr(module, name, 5)
        assert getattr(module, name, None) is before


@pytest.mark.parametrize("value", [10**400, -(10**400), 1e300, 10**30], ids=["a", "b", "c", "d"])
def test_numbers_beyond_floats_are_refused_and_those_within_become_floats(value):
    if abs(value) > 1e300:
        with pytest.raises(ValueError, match="`rate` must be a positive number"):
            options.check_positive(rate=value)
        with pytest.raises(ValueError, match="`tolerance` must be a finite number"):
            srk.GaussianMixture(2, tolerance=value)
        return
    config = srk.GaussianMixture(2, weight_concentration=value, tolerance=value).get_config()
    assert type(config["weight_concentration"]) is type(config["tolerance"]) is float


@pytest.mark.parametrize("family", [srk.gmm.GMM, srk.mlda.MLDA, srk.mm.MarkovModel])
def test_labels_may_be_set_by_the_name_of_the_option(family):
    module = family(3, save_dir=None) if family is not srk.mm.MarkovModel else family()
    module.category = [0, 1, 2]
    assert module.labels is module.category and module.labels.tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="`category`"):
        module.category = [0, None]


def test_the_weight_of_the_divergence_may_be_set_by_either_name():
    vae1 = srk.vae.VAE(2, KL_param=0.5)
    vae1.KL_param = 0.25
    assert vae1.kl_weight == vae1.KL_param == 0.25
    assert (vae1.hidden_encoder_dim, vae1.weight_stddev) == (100, 0.1)


def test_what_float32_cannot_hold_is_refused():
    for option in ("KL_param", "learning_rate", "weight_stddev"):
        with pytest.raises(ValueError, match=f"`{option}` must be at most"):
            srk.vae.VAE(2, **{option: 1e300})
    vae1 = srk.vae.VAE(2)
    for option in ("kl_weight", "learning_rate"):
        with pytest.raises(ValueError, match=f"`{option}` must be at most"):
            setattr(vae1, option, 1e300)


@pytest.mark.parametrize(
    "value", [1e300, -1, np.nan, "1", {}, [], [[1.0]], {1}, np.array([None, "a"], object)], ids=repr
)
def test_a_resolution_is_one_number_or_one_for_each_feature(value):
    with pytest.raises((TypeError, ValueError), match="`resolution`"):
        srk.gmm.GMM(2, resolution=value)


@pytest.mark.parametrize(
    "call, said",
    [
        (lambda: srk.recipes.table(ROWS, n_clusters=3), "^table has .*Did you mean `K`"),
        (lambda: srk.recipes.images(ROWS, random_state=3), "^images has .*Did you mean `seed`"),
        (lambda: srk.recipes.images(ROWS, latent_dim=3), "It takes K, decoder, encoder, seed, x"),
        (lambda: srk.Graph(srk.Observation(ROWS)).fit(batch_size=3), "It takes backup_dir, callb"),
        (lambda: srk.VariationalAutoencoder(2, intermediate_dim=3), "mean `encoder_units`"),
    ],
)
def test_no_option_is_suggested_that_leads_astray(call, said):
    with pytest.raises(TypeError, match=said):
        call()
