"""The bound of log p(x) of a graph with a VAE against closed forms and integrals over z."""

import itertools
import json

import keras
import numpy as np
import pytest
from scipy.special import expit, logsumexp
from scipy.stats import multivariate_normal, norm

import kserket as srk
from kserket import gmm, mlda, mm, vae
from kserket.vae import module as vae_module

NOISE = 0.3  # variance of the Gaussian likelihood
MEANS, VARIANCES = np.array([-1.0, 2.0]), np.array([0.5, 1.5])  # of z in each class
WEIGHTS = np.array([0.3, 0.7])
LOADING, OFFSET = np.array([1.0, -0.5, 2.0]), np.array([0.2, 0.0, -1.0])


def sharpen(mixture, means, variances, weights):
    """Gives a mixture of one feature parameters that it is sure of."""
    sure = np.full(len(means), 1e9)
    state = mixture.state._replace(
        weight_concentration=1e9 * np.asarray(weights),
        mean=np.reshape(means, (-1, 1)),
        mean_precision=sure,
        degrees_of_freedom=sure,
        scatter=1e9 * np.reshape(variances, (-1, 1, 1)),
    )
    mixture._assign(state)


def encoder_of(variance, slope=None):
    """q(z|x) = N(a'x + b, variance), the posterior under N(0, 1) of z where slope is None."""
    inputs = keras.Input((3,))
    mean, log_variance = keras.layers.Dense(1), keras.layers.Dense(1)
    model = keras.Model(inputs, [mean(inputs), log_variance(inputs)])
    slope = variance * LOADING / NOISE if slope is None else slope
    mean.set_weights([np.reshape(slope, (3, 1)), np.array([-float(slope @ OFFSET)])])
    log_variance.set_weights([np.zeros((3, 1)), np.array([np.log(variance)])])
    return model


def decoder_of(activation=None):
    layer = keras.layers.Dense(3, activation=activation)
    model = keras.Sequential([keras.Input((1,)), layer])
    layer.set_weights([LOADING[None], OFFSET])
    return model


def plain(vae1):
    """A VAE that works on the data themselves, not on standardized ones."""
    if vae1.likelihood == "gaussian":
        layer = vae1.model.standardization
        layer.location.assign(np.zeros((2, 3)))
        layer.scale.assign(np.ones(3))


def linear(encoder, x=None, likelihood="gaussian", name="vae"):
    """A VAE of which p(x|z) is linear in z."""
    x = np.random.default_rng(0).normal(size=(40, 3)) if x is None else x
    variance = NOISE if likelihood == "gaussian" else None
    vae1 = vae.VAE(
        1, itr=1, encoder=encoder, decoder=decoder_of(), learning_rate=1e-30,
        likelihood=likelihood, variance=variance, save_dir=None, name=name,
    )  # fmt: skip
    vae1.connect(srk.Observation(x, allow_missing=True, name=f"x_{name}"))
    return vae1


def under_mixture(encoder, classes=2, **options):
    """It, and a mixture of z above it."""
    vae1 = linear(encoder, **options)
    gmm1 = gmm.GMM(classes, itr=1, n_init=1, save_dir=None, name=f"gmm_{vae1.name}")
    gmm1.connect(vae1)
    return vae1, gmm1


def learned(top, *pairs, means=MEANS, variances=VARIANCES, weights=WEIGHTS):
    graph = srk.Graph(top, seed=0)
    graph.fit(1, verbose=0)
    for vae1, gmm1 in pairs:
        plain(vae1)
        sharpen(gmm1.model, means, variances, weights)
    return graph


def class_densities(x, means=MEANS, variances=VARIANCES):
    """log p(x | class), (N, K), z integrated out."""
    return np.stack(
        [
            multivariate_normal(
                OFFSET + LOADING * mean, NOISE * np.eye(3) + variance * np.outer(LOADING, LOADING)
            ).logpdf(x)
            for mean, variance in zip(means, variances, strict=True)
        ],
        axis=1,
    )


def class_bounds(x, slope, variance):
    """E_q[log p(x|z) p(z|class)] + H(q), (N, K), in closed form."""
    z = (x - OFFSET) @ slope
    told = norm.logpdf(x, OFFSET + z[:, None] * LOADING, np.sqrt(NOISE)).sum(axis=1)
    told -= 0.5 * variance * (LOADING @ LOADING) / NOISE
    prior = norm.logpdf(z[:, None], MEANS, np.sqrt(VARIANCES)) - 0.5 * variance / VARIANCES
    return (told + 0.5 * np.log(2 * np.pi * np.e * variance))[:, None] + prior


def draw(size, seed=1):
    rng = np.random.default_rng(seed)
    classes = rng.choice(2, size, p=WEIGHTS)
    z = MEANS[classes] + np.sqrt(VARIANCES[classes]) * rng.normal(size=size)
    return OFFSET + z[:, None] * LOADING + np.sqrt(NOISE) * rng.normal(size=(size, 3))


SHARP = 1 / (1 + LOADING @ LOADING / NOISE)  # variance of the posterior under N(0, 1)


def test_it_is_log_p_where_q_is_the_posterior():
    x = draw(3000)
    vae1, gmm1 = under_mixture(encoder_of(SHARP), classes=1)
    graph = learned(gmm1, (vae1, gmm1), means=[0.0], variances=[1.0], weights=[1.0])
    exact = class_densities(x, [0.0], [1.0])[:, 0].mean()
    figures = graph.evaluate(x)
    assert "log_likelihood" not in figures
    assert figures["bound"] == pytest.approx(exact, abs=0.02)
    vae1 = linear(encoder_of(SHARP))
    alone = learned(vae1)
    plain(vae1)
    assert alone.evaluate(x)["bound"] == pytest.approx(exact, abs=0.02)


def test_under_a_mixture_it_is_the_bound_of_every_class_summed_up():
    x, slope = draw(3000), 0.9 * SHARP * LOADING / NOISE
    vae1, gmm1 = under_mixture(encoder_of(2 * SHARP, slope))
    graph = learned(gmm1, (vae1, gmm1))
    found = graph.evaluate(x)["bound"]
    expected = logsumexp(class_bounds(x, slope, 2 * SHARP) + np.log(WEIGHTS), axis=1).mean()
    exact = logsumexp(class_densities(x) + np.log(WEIGHTS), axis=1).mean()
    assert found == pytest.approx(expected, abs=0.03)
    assert exact - 1.5 < found < exact - 0.1
    assert found == graph.evaluate(x)["bound"]
    vae1.kl_weight = 7.0
    assert found == graph.evaluate(x)["bound"]
    seen = np.ones(len(x), bool)
    seen[[0, 5, 6, 2999]] = False
    part = graph.evaluate(x[seen])["bound"]
    x[~seen] = np.nan
    assert graph.evaluate(x)["bound"] == pytest.approx(part, rel=1e-6)


def sums_over_paths(chain, of_class):
    """log p of a sequence, enumerated, from log p(step | class) (T, K)."""
    state, size = chain.model.state, range(len(of_class))
    steps = np.logaddexp.reduce(np.log(state.reports) + of_class[:, None], axis=2)
    return logsumexp(
        [
            np.log(state.initial[path[0]])
            + steps[size, path].sum()
            + np.log(state.transitions[path[:-1], path[1:]]).sum()
            for path in itertools.product(range(2), repeat=len(of_class))
        ]
    )


def test_under_a_chain_it_is_below_the_sum_over_all_paths(monkeypatch):
    monkeypatch.setattr(vae_module, "_DRAWS", 200)
    vae1, gmm1 = under_mixture(encoder_of(SHARP))
    chain = mm.MarkovModel(itr=2, n_init=1, save_dir=None)
    chain.connect(gmm1)
    graph = learned(chain, (vae1, gmm1))
    x = draw(6)
    exact = sums_over_paths(chain, class_densities(x)) / 6
    expected = sums_over_paths(chain, class_bounds(x, SHARP * LOADING / NOISE, SHARP)) / 6
    assert exact - 0.5 < expected < exact
    assert graph.evaluate(x)["bound"] == pytest.approx(expected, abs=0.1)


def test_under_topics_of_two_of_them_it_is_below_the_sum_over_all_classes(monkeypatch):
    monkeypatch.setattr(vae_module, "_DRAWS", 200)
    first, second = under_mixture(encoder_of(SHARP)), under_mixture(encoder_of(SHARP), name="other")
    top = mlda.MLDA(2, itr=2, alpha=0, save_dir=None)
    top.connect(first[1], second[1])
    graph = learned(top, first, second)
    parts = {"x_vae": draw(8), "x_other": draw(8, seed=2)}
    parts["x_other"][3] = np.nan

    def score(of_class, *options):
        total = np.log(top.model.topic_weights)
        for x, phi in zip(parts.values(), top.model.topics, strict=True):
            seen = ~np.isnan(x).any(axis=1)
            part = np.zeros((len(x), 2))
            part[seen] = of_class(x[seen], *options)
            total = total + logsumexp(np.log(phi) + part[:, None], axis=2)
        return logsumexp(total, axis=1).mean()

    exact, expected = score(class_densities), score(class_bounds, SHARP * LOADING / NOISE, SHARP)
    assert exact - 0.5 < expected < exact
    assert graph.evaluate(parts)["bound"] == pytest.approx(expected, abs=0.1)


def test_of_bits_it_is_below_an_integral_over_z():
    bits = np.array(list(itertools.product([0.0, 1.0], repeat=3)))
    vae1, gmm1 = under_mixture(encoder_of(1.0, 0.3 * LOADING), x=bits[:6], likelihood="bernoulli")
    graph = learned(gmm1, (vae1, gmm1))
    z = np.linspace(-12, 14, 4001)
    density = (WEIGHTS * norm.pdf(z[:, None], MEANS, np.sqrt(VARIANCES))).sum(axis=1)
    ones = expit(OFFSET + z[:, None] * LOADING)
    told = np.prod(np.where(bits[:, None], ones, 1 - ones), axis=2)
    exact = (told * density).sum(axis=1) * (z[1] - z[0])
    assert exact.sum() == pytest.approx(1, abs=1e-6)
    found = graph.evaluate(np.repeat(bits, 400, axis=0))["bound"]
    assert np.log(exact).mean() - 2.0 < found < np.log(exact).mean()


def test_in_other_units_it_is_that_of_a_density():
    x, found = np.random.default_rng(0).normal(size=(50, 3)), []
    for unit in (np.ones(3), np.array([1e3, 1.0, 1e-2])):
        vae1 = vae.VAE(2, itr=20, likelihood="gaussian", save_dir=None)
        gmm1 = gmm.GMM(2, itr=5, n_init=1, save_dir=None)
        vae1.connect(srk.Observation(x * unit))
        gmm1.connect(vae1)
        graph = srk.Graph(gmm1, seed=0)
        graph.fit(1, verbose=0)
        bound = graph.evaluate(x * unit)["bound"]
        found.append(bound + np.log(unit).sum())
    assert found[0] == pytest.approx(found[1], abs=1e-3)


def test_no_bound_of_a_vae_over_a_vae():
    first = linear(encoder_of(SHARP))
    above = vae.VAE(1, itr=1, likelihood="gaussian", name="above", save_dir=None)
    above.connect(first)
    graph = srk.Graph(above, seed=0)
    graph.fit(1, verbose=0)
    assert "bound" not in graph.evaluate(draw(5))


def test_runs_are_chosen_by_it(tmp_path):
    x = expit(np.random.default_rng(0).normal(size=(60, 4)) + 3 * (np.arange(60) % 2)[:, None])
    vae1, gmm1 = vae.VAE(1, itr=10, save_dir=None), gmm.GMM(2, itr=5, n_init=1, save_dir=None)
    vae1.connect(srk.Observation(x))
    gmm1.connect(vae1)
    graph = srk.Graph(gmm1, seed=0)
    graph.fit(1, n_init=2, backup_dir=tmp_path, verbose=0)
    scores = json.loads((tmp_path / "starts.json").read_text())["scores"]
    assert graph.evaluate(x)["bound"] == max(scores.values()) > min(scores.values())
    assert scores[str(vae1.start)] == max(scores.values())
