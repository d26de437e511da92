"""Chains whose states last for durations of a law of their own, against every segmentation."""

import functools
import itertools

import numpy as np
import pytest
from scipy import stats

from kserket.inference import durations, markov_chain, segment_passes


def make(seed, num_states=3, limit=3, dispersion=0.4, num_steps=6):
    """A chain and evidence."""
    rng = np.random.default_rng(seed)
    rate = rng.uniform(0.2, 0.8, num_states)
    laws = durations.Durations(rate, np.full(num_states, dispersion), limit)
    transitions = rng.dirichlet(np.ones(num_states), num_states) * (1 - np.eye(num_states))
    transitions /= transitions.sum(axis=1, keepdims=True)
    evidence = 2.0 * rng.normal(size=(num_steps, num_states))
    return evidence, rng.dirichlet(np.ones(num_states)), transitions, laws


def probability(lasting, state, steps, over):
    """P(d = steps), or P(d >= steps) if the sequence is over, by products of what is left."""
    leave, stay = lasting
    cells = np.minimum(np.arange(steps), leave.shape[1] - 1)
    left = 1.0 if over else leave[state, cells[-1]]
    return np.prod(stay[state, cells[:-1]]) * left


def enumerate_segments(evidence, initial, transitions, laws):
    """Every path (P, N), its log joint probability, its pairs and its durations."""
    num_steps, num_states = evidence.shape
    found, lasting = [], laws.lasting()
    for path in itertools.product(range(num_states), repeat=num_steps):
        path = np.array(path)
        segments = markov_chain.segments(path)
        log_joint = np.log(initial[path[0]]) + evidence[range(num_steps), path].sum()
        pairs = np.zeros((num_states, num_states))
        counts = np.zeros((2, num_states, laws.limit))
        for start, end, state in segments:
            over = end == num_steps
            log_joint += np.log(probability(lasting, state, end - start, over))
            for age in range(end - start - over):
                left = int(age < end - start - 1)
                counts[left, state, min(age, laws.limit - 1)] += 1
            if not over:
                pairs[state, path[end]] += 1
                with np.errstate(divide="ignore"):
                    log_joint += np.log(transitions[state, path[end]])
        found.append((path, log_joint, pairs, counts))
    return [np.array(part) for part in zip(*found, strict=True)]


@pytest.fixture(params=["at once", "stretches"])
def passes(request, monkeypatch):
    """All steps at once, and a few at a time."""
    if request.param == "stretches":
        monkeypatch.setattr(segment_passes, "_MAX_CELLS", 20)


CASES = [
    {"limit": 3},
    {"limit": 1},
    {"limit": 2, "dispersion": 0.0},
    {"limit": 9, "dispersion": 2.0, "num_steps": 6},
    {"limit": 7, "num_states": 2, "num_steps": 8},
    {"num_steps": 1},
]


@functools.cache
def enumerated(case):
    """A case, and all its segmentations; log p(x) of its first steps."""
    evidence, *chain = make(0, **CASES[case])
    earlier = [enumerate_segments(evidence[:t], *chain)[1] for t in range(1, len(evidence))]
    found = enumerate_segments(evidence, *chain)
    return evidence, *chain, found, [np.logaddexp.reduce(part) for part in [*earlier, found[1]]]


@pytest.mark.parametrize("case", range(len(CASES)))
def test_passes_equal_enumeration_of_all_segmentations(case, passes):
    evidence, initial, transitions, laws, found, so_far = enumerated(case)
    paths, log_joint, pairs, counts = found
    total = np.logaddexp.reduce(log_joint)
    weights = np.exp(log_joint - total)
    one_hot = np.eye(len(initial))[paths]
    lasting = laws.lasting()
    found = markov_chain.smooth(evidence, initial, transitions, lasting=lasting)
    np.testing.assert_allclose(found.log_likelihood, total, rtol=1e-12)
    marginals = np.einsum("p,pnk->nk", weights, one_hot)
    np.testing.assert_allclose(np.exp(found.log_marginals), marginals, atol=1e-12)
    np.testing.assert_allclose(found.counts.initial, marginals[0], atol=1e-12)
    expected = np.einsum("p,pij->ij", weights, pairs)
    np.testing.assert_allclose(found.counts.transitions, expected, atol=1e-12)
    expected = np.einsum("p,pxka->xka", weights, counts)
    np.testing.assert_allclose(found.counts.durations, expected, atol=1e-12)
    for t in range(len(evidence)):  # what all others say
        without = log_joint - evidence[t, paths[:, t]]
        shares = np.exp(without - np.logaddexp.reduce(without)) @ one_hot[:, t]
        np.testing.assert_allclose(np.exp(found.log_context[t]), shares, atol=1e-12)
    np.testing.assert_allclose(found.log_predictive.cumsum(), so_far, rtol=1e-12)
    path, score = markov_chain.most_likely_path(evidence, initial, transitions, lasting=lasting)
    np.testing.assert_allclose(score, log_joint.max(), rtol=1e-12)
    np.testing.assert_array_equal(path, paths[log_joint.argmax()])
    drawn = markov_chain.sample_paths(
        evidence, initial, transitions, 4000, lasting=lasting, rng=np.random.default_rng(0)
    )
    base = len(initial) ** np.arange(len(evidence))
    ids, frequencies = np.unique(drawn @ base, return_counts=True)
    exact = dict(zip(paths @ base, weights, strict=True))
    close = [abs(exact[i] - n / 4000) for i, n in zip(ids, frequencies, strict=True)]
    assert max(close) < 0.035
    counted = markov_chain.count(drawn, len(initial), limit=laws.limit)
    np.testing.assert_allclose(counted.durations, found.counts.durations, atol=0.15)
    np.testing.assert_allclose(counted.transitions, found.counts.transitions, atol=0.15)


def test_several_sequences_are_each_by_itself(passes):
    evidence, initial, transitions, laws = make(1, num_steps=60)
    lengths, lasting = [1, 20, 2, 30, 7], laws.lasting()
    both = markov_chain.smooth(evidence, initial, transitions, lengths, lasting)
    path, score = markov_chain.most_likely_path(evidence, initial, transitions, lengths, lasting)
    begin, counts, scores = 0, [], []
    for length in lengths:
        rows = slice(begin, begin + length)
        part = markov_chain.smooth(evidence[rows], initial, transitions, None, lasting)
        np.testing.assert_allclose(both.log_marginals[rows], part.log_marginals, atol=1e-12)
        np.testing.assert_allclose(both.log_context[rows], part.log_context, atol=1e-12)
        best = markov_chain.most_likely_path(evidence[rows], initial, transitions, None, lasting)
        np.testing.assert_array_equal(path[rows], best[0])
        counts.append(part.counts)
        scores.append(best[1])
        begin += length
    np.testing.assert_allclose(score, sum(scores))
    for one, other in zip(both.counts, markov_chain.merge(*counts), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-10)


@pytest.mark.parametrize("limit", [1, 4, 50])
def test_geometric_durations_are_a_markov_chain(limit, passes):
    rng = np.random.default_rng(2)
    transitions = rng.dirichlet(np.ones(3), 3)
    evidence, initial = rng.normal(size=(80, 3)), rng.dirichlet(np.ones(3))
    prior = durations.Prior("negative_binomial", limit, 0.1)
    laws, others = durations.from_transitions(transitions, prior)
    chain = markov_chain.smooth(evidence, initial, transitions)
    found = markov_chain.smooth(evidence, initial, others, lasting=laws.lasting())
    np.testing.assert_allclose(found.log_marginals, chain.log_marginals, atol=1e-10)
    np.testing.assert_allclose(found.log_predictive, chain.log_predictive, atol=1e-10)
    leaves, stays = found.counts.durations.sum(axis=2)
    np.testing.assert_allclose(stays, np.diag(chain.counts.transitions), atol=1e-9)
    elsewhere = chain.counts.transitions * (1 - np.eye(3))
    np.testing.assert_allclose(found.counts.transitions, elsewhere, atol=1e-9)
    np.testing.assert_allclose(leaves, elsewhere.sum(axis=1), atol=1e-9)


def test_zeros_stay_zeros_and_evidence_of_a_thousand_nats_counts(passes):
    laws = durations.Durations(np.array([0.2, 1.0, 0.0]), np.zeros(3), 8)  # 1: one step; 2: forever
    transitions = np.array([[0, 1.0, 0], [0, 0, 1], [0, 0, 1]])
    initial = np.array([1.0, 0, 0])
    evidence = np.zeros((9, 3))
    evidence[6, 0] = 1000.0  # still in the first, though the law says otherwise
    evidence[2, 2] = -np.inf
    found = markov_chain.smooth(evidence, initial, transitions, lasting=laws.lasting())
    marginals = np.exp(found.log_marginals)
    np.testing.assert_allclose(marginals[:7, 0], 1.0)
    assert marginals[7, 2] == 0 and found.counts.transitions[0, 2] == 0
    np.testing.assert_allclose(marginals[8, 2], np.exp(found.log_marginals[7, 1]))
    path, _ = markov_chain.most_likely_path(evidence, initial, transitions, lasting=laws.lasting())
    assert (path[:7] == 0).all()
    evidence[4, 0] = -np.inf  # too soon to be left and to last forever
    evidence[:4, 0] = evidence[6, 0] = 0.0
    evidence[3, 1:] = evidence[4, 1] = -np.inf
    for call in (markov_chain.smooth, markov_chain.most_likely_path):
        with pytest.raises(ValueError, match="No path of states explains sequence 0: at row 4"):
            call(evidence, initial, transitions, lasting=laws.lasting())


@pytest.mark.parametrize("dispersion", [0.0, 0.3, 1.0, 4.0])
@pytest.mark.parametrize("mean", [1.3, 12.0, 150.0])
def test_durations_follow_their_law(mean, dispersion):
    laws = durations.Durations(np.array([1 / mean]), np.array([dispersion]), 60)
    excess = mean - 1
    law = stats.poisson(excess)
    if dispersion:
        law = stats.nbinom(1 / dispersion, 1 / (1 + dispersion * excess))
    found = laws.probabilities()[0]
    np.testing.assert_allclose(found[:-1], law.pmf(np.arange(59)), atol=1e-14)
    np.testing.assert_allclose(found[-1], law.sf(58), atol=1e-14)
    leave, _ = laws.lasting()
    beyond = found[-1] * (59 + 1 / leave[0, -1])
    np.testing.assert_allclose(found[:-1] @ np.arange(1, 60) + beyond, mean, rtol=1e-10)


@pytest.mark.parametrize("law, dispersion", [("poisson", 0), ("negative_binomial", 0.25)])
def test_durations_are_learned_from_counts(law, dispersion):
    rng = np.random.default_rng(3)
    excess = np.array([5.0, 40.0])
    true = durations.Durations(1 / (1 + excess), np.full(2, dispersion), 100)
    drawn = segment_passes.sample(np.ones(2) / 2, 1 - np.eye(2), true.lasting(), [20_000], rng)
    counts = markov_chain.count(drawn[None], 2, limit=100).durations
    prior = durations.Prior(law, 100, 0.1)
    found, _ = durations.from_transitions(np.array([[0.5, 0.5], [0.5, 0.5]]), prior)

    def score(laws):
        leave, stay = laws.lasting()
        own = (counts[0] * np.log(leave) + counts[1] * np.log(stay)).sum()
        return own + durations.log_prior(laws, prior)

    scores = [score(found)]
    for _ in range(15):
        found = durations.maximize(counts, found, prior)
        scores.append(score(found))
    assert (np.diff(scores) >= -1e-9).all()
    assert scores[-1] > score(true) - 0.1
    np.testing.assert_allclose(found.rate, true.rate, rtol=0.05)
    np.testing.assert_allclose(found.dispersion, true.dispersion, rtol=0.4)


def test_drawn_sequences_last_as_their_laws_say():
    laws = durations.Durations(np.array([0.1, 0.02]), np.zeros(2), 20)
    rng = np.random.default_rng(4)
    states = markov_chain.sample(
        np.array([1.0, 0]), 1 - np.eye(2), [5000, 300], rng, laws.lasting()
    )
    segments = markov_chain.segments(states, [5000, 300])
    assert len(states) == 5300 and states[0] == 0 and states[5000] == 0
    for state, mean in enumerate((10.0, 50.0)):
        lasted = [end - start for start, end, other in segments[:-1] if other == state]
        assert abs(np.mean(lasted) / mean - 1) < 0.15
