"""Messages and posteriors on trees of discrete variables equal enumeration of the joint."""

import itertools

import numpy as np
import pytest
from numpy.testing import assert_allclose

import kserket as srk
from kserket import gmm

NUM_SAMPLES = 6
SIZES = {"a": 2, "b": 3, "c": 2, "t1": 2, "t2": 3, "r": 2}  # classes of each module


class Table(srk.Module):
    """A latent class and, for each input, a table P(class of the input | latent class)."""

    def __init__(self, name, weights, *tables):
        super().__init__(name, learnable=False)
        self.weights, self.tables = np.log(weights), tables

    def infer(self, inputs, prior):
        said = [
            np.log(np.asarray(x) @ table.T) for x, table in zip(inputs, self.tables, strict=True)
        ]
        log_prior = self.weights if prior is None else np.log(prior)
        evidence = sum(said) + (self.weights if prior is None else 0.0)
        downward = []
        for own, table in zip(said, self.tables, strict=True):
            cavity = srk.Categorical.from_log(sum(said) - own + log_prior)
            downward.append(srk.Categorical(cavity.probs @ table))
        posterior = srk.Categorical.from_log(sum(said) + log_prior)
        return srk.Inference(srk.Categorical.from_log(evidence), downward, posterior)

    def update(self):
        inference = self.infer(self.get_observations(), self.get_backward_msg())
        self.set_forward_msg(inference.evidence)
        self.send_backward_msgs(inference.downward)
        self.belief = inference.posterior.probs

    @property
    def posterior(self):
        return self.belief


class Tree:
    """a - t1 - b - t2 - c, with r above t1: fan-out at b, several inputs at t1 and t2, two tops."""

    def __init__(self, order):
        rng = np.random.default_rng(5)
        self.data = {name: rng.normal(size=(NUM_SAMPLES, 2)) for name in "abc"}
        table = {
            (up, down): rng.dirichlet(np.ones(SIZES[down]), SIZES[up])
            for up, down in [("t1", "a"), ("t1", "b"), ("t2", "b"), ("t2", "c"), ("r", "t1")]
        }
        weights = {name: rng.dirichlet(np.ones(SIZES[name])) for name in ("t1", "t2", "r")}
        self.table, self.weights = table, weights
        modules = {}
        for name in "abc":
            module = gmm.GMM(SIZES[name], itr=5, name=name, n_init=1, save_dir=None, seed=1)
            module.connect(srk.Observation(self.data[name], name=f"x_{name}"))
            module.update()
            module.trainable = False
            modules[name] = module
        reads = {"t1": "ab", "t2": "bc", "r": ["t1"]}
        for name in order:  # numbers decide among modules that could come next
            modules[name] = Table(
                name, weights[name], *(table[name, below] for below in reads[name])
            )
        for name in ("t1", "t2", "r"):
            modules[name].connect(*(modules[below] for below in reads[name]))
        self.modules = modules

    def graph(self):
        return srk.Graph(self.modules["r"], self.modules["t2"])

    def enumerate(self, observed="abc"):
        """Marginals (N, K) of every module from the sum over all joint configurations."""
        likelihood = {
            name: np.exp(self.modules[name].model.component_log_likelihood(self.data[name]))
            if name in observed
            else np.ones((NUM_SAMPLES, SIZES[name]))
            for name in "abc"
        }
        names = list(SIZES)
        marginals = {name: np.zeros((NUM_SAMPLES, size)) for name, size in SIZES.items()}
        for values in itertools.product(*(range(size) for size in SIZES.values())):
            at = dict(zip(names, values, strict=True))
            weight = np.ones(NUM_SAMPLES)
            for name in "abc":
                weight = weight * likelihood[name][:, at[name]]
            weight = weight * self.weights["r"][at["r"]] * self.weights["t2"][at["t2"]]
            for (up, down), table in self.table.items():
                weight = weight * table[at[up], at[down]]
            for name in names:
                marginals[name][:, at[name]] += weight
        return {name: m / m.sum(axis=1, keepdims=True) for name, m in marginals.items()}


@pytest.fixture(params=[("t1", "t2", "r"), ("r", "t2", "t1")], ids="-".join)
def tree(request):
    return Tree(request.param)


def test_prediction_equals_enumeration(tree):
    answers = tree.graph().predict(
        {f"x_{name}": x for name, x in tree.data.items()}, outputs=list(SIZES)
    )
    for name, expected in tree.enumerate().items():
        assert_allclose(answers[name], expected, rtol=1e-6, err_msg=name)


def test_repeated_updates_equal_enumeration(tree):
    graph = tree.graph()
    graph.fit(8, verbose=0)
    for name, expected in tree.enumerate().items():
        assert_allclose(tree.modules[name].posterior, expected, rtol=1e-6, err_msg=name)


def test_messages_equal_enumeration(tree):
    """What goes up is the evidence alone: the marginal without what lies above."""
    tree.graph().fit(8, verbose=0)
    log_likelihood = tree.modules["b"].model.component_log_likelihood(tree.data["b"])
    alone = srk.Categorical.from_log(log_likelihood).probs
    assert_allclose(np.asarray(tree.modules["b"].get_forward_msg()), alone, rtol=1e-6)
    # What t2 hears of b is everything but t2's own word: the joint without t2 and c.
    heard, _ = tree.modules["t2"].get_observations()
    full = tree.enumerate()["b"]
    own = np.asarray(tree.modules["b"].mailbox.backward[tree.modules["t2"]])
    assert_allclose(np.asarray(heard) * own, full * (np.asarray(heard) * own).sum(1)[:, None])
    assert_allclose(
        np.asarray(tree.modules["b"].get_backward_msg()) * alone / full,
        _rows((np.asarray(tree.modules["b"].get_backward_msg()) * alone).sum(1)),
    )


def _rows(column):
    return np.repeat(column[:, None], SIZES["b"], axis=1)


@pytest.mark.parametrize("observed", ["ab", "b", "ca"])
def test_what_was_not_observed_is_summed_out(observed):
    tree = Tree(("t1", "t2", "r"))
    answers = tree.graph().predict(
        {f"x_{name}": tree.data[name] for name in observed}, outputs=list(SIZES)
    )
    for name, expected in tree.enumerate(observed).items():
        assert_allclose(answers[name], expected, rtol=1e-6, err_msg=name)


def test_prediction_changes_nothing(tree):
    graph = tree.graph()
    graph.fit(1, verbose=0)
    before = {name: np.array(module.get_forward_msg()) for name, module in tree.modules.items()}
    priors = {name: np.array(tree.modules[name].get_backward_msg()) for name in "abc"}
    graph.predict({f"x_{name}": x[::-1] for name, x in tree.data.items()})
    for name, module in tree.modules.items():
        assert_allclose(np.asarray(module.get_forward_msg()), before[name], rtol=0)
    for name, prior in priors.items():
        assert_allclose(np.asarray(tree.modules[name].get_backward_msg()), prior, rtol=0)
