"""A Markov chain's recursions against enumeration of every path."""

import itertools

import numpy as np
import pytest

from kserket.inference import chain_blocks, chain_passes, chain_scan, markov_chain
from kserket.inference.sequences import check_lengths


def make_chain(rng, num_states):
    initial = rng.dirichlet(np.ones(num_states))
    return initial, rng.dirichlet(np.ones(num_states), size=num_states)


def enumerate_paths(log_evidence, initial, transitions):
    """All paths (P, N) and their log joint probability with the evidence (P,)."""
    num_steps, num_states = log_evidence.shape
    paths = np.array(list(itertools.product(range(num_states), repeat=num_steps)))
    log_joint = np.log(initial)[paths[:, 0]] + log_evidence[range(num_steps), paths].sum(axis=1)
    return paths, log_joint + np.log(transitions)[paths[:, :-1], paths[:, 1:]].sum(axis=1)


def expectations(log_evidence, initial, transitions):
    """Marginals, transition counts and log likelihood, by enumeration."""
    num_states = len(initial)
    paths, log_joint = enumerate_paths(log_evidence, initial, transitions)
    log_likelihood = np.logaddexp.reduce(log_joint)
    weights = np.exp(log_joint - log_likelihood)
    one_hot = np.eye(num_states)[paths]
    marginals = np.einsum("p,pnk->nk", weights, one_hot)
    pairs = np.einsum("p,pni,pnj->ij", weights, one_hot[:, :-1], one_hot[:, 1:])
    return marginals, pairs, log_likelihood


@pytest.mark.parametrize("num_steps, num_states", [(1, 3), (2, 2), (7, 3), (5, 4), (9, 1)])
def test_smoothing_equals_enumeration(num_steps, num_states):
    rng = np.random.default_rng(num_steps)
    initial, transitions = make_chain(rng, num_states)
    log_evidence = 3.0 * rng.normal(size=(num_steps, num_states))
    marginals, pairs, log_likelihood = expectations(log_evidence, initial, transitions)
    result = markov_chain.smooth(log_evidence, initial, transitions)
    np.testing.assert_allclose(np.exp(result.log_marginals), marginals, atol=1e-12)
    np.testing.assert_allclose(result.counts.transitions, pairs, atol=1e-12)
    np.testing.assert_allclose(result.counts.initial, marginals[0], atol=1e-12)
    np.testing.assert_allclose(result.log_likelihood, log_likelihood, rtol=1e-12)


def test_context_is_the_posterior_without_the_steps_own_evidence():
    rng = np.random.default_rng(0)
    initial, transitions = make_chain(rng, 3)
    log_evidence = 3.0 * rng.normal(size=(6, 3))
    context = np.exp(markov_chain.smooth(log_evidence, initial, transitions).log_context)
    for step in range(6):
        deaf = log_evidence.copy()
        deaf[step] = 0.0
        marginals = expectations(deaf, initial, transitions)[0]
        np.testing.assert_allclose(context[step], marginals[step], atol=1e-12)


def test_blocks_change_nothing(monkeypatch):
    rng = np.random.default_rng(1)
    initial, transitions = make_chain(rng, 4)
    log_evidence = 5.0 * rng.normal(size=(300, 4))
    lengths = [150, 1, 40, 109]
    monkeypatch.setattr(chain_scan, "compiled", lambda: None)
    monkeypatch.setattr(chain_blocks, "_block_length", lambda lengths, num_states: 150)
    whole = markov_chain.smooth(log_evidence, initial, transitions, lengths)
    for size in (1, 7, 64):
        monkeypatch.setattr(chain_blocks, "_block_length", lambda *_, size=size: size)
        chunked = markov_chain.smooth(log_evidence, initial, transitions, lengths)
        np.testing.assert_allclose(chunked.log_marginals, whole.log_marginals, atol=1e-9)
        np.testing.assert_allclose(chunked.log_context, whole.log_context, atol=1e-9)
        np.testing.assert_allclose(chunked.counts.transitions, whole.counts.transitions, atol=1e-9)
        np.testing.assert_allclose(chunked.log_likelihood, whole.log_likelihood, rtol=1e-12)


def test_lengths_equal_separate_runs():
    rng = np.random.default_rng(2)
    initial, transitions = make_chain(rng, 3)
    lengths = [4, 1, 90, 5]
    log_evidence = rng.normal(size=(100, 3))
    together = markov_chain.smooth(log_evidence, initial, transitions, lengths)
    parts = np.split(log_evidence, np.cumsum(lengths)[:-1])
    apart = [markov_chain.smooth(part, initial, transitions) for part in parts]
    np.testing.assert_allclose(
        together.log_marginals, np.concatenate([part.log_marginals for part in apart]), atol=1e-10
    )
    merged = markov_chain.merge(*(part.counts for part in apart))
    np.testing.assert_allclose(together.counts.transitions, merged.transitions, atol=1e-10)
    np.testing.assert_allclose(together.counts.initial, merged.initial, atol=1e-10)
    np.testing.assert_allclose(
        together.log_likelihood, sum(part.log_likelihood for part in apart), rtol=1e-12
    )
    path, score = markov_chain.most_likely_path(log_evidence, initial, transitions, lengths)
    separate = [markov_chain.most_likely_path(part, initial, transitions) for part in parts]
    np.testing.assert_array_equal(path, np.concatenate([states for states, _ in separate]))
    np.testing.assert_allclose(score, sum(total for _, total in separate))


def test_a_missing_step_is_marginalized():
    rng = np.random.default_rng(3)
    initial, transitions = make_chain(rng, 3)
    log_evidence = rng.normal(size=(5, 3))
    log_evidence[2] = 0.0
    two_steps = transitions @ transitions
    present = [0, 1, 3, 4]
    paths = np.array(list(itertools.product(range(3), repeat=4)))
    log_joint = np.log(initial)[paths[:, 0]] + np.log(transitions)[paths[:, 0], paths[:, 1]]
    log_joint += np.log(two_steps)[paths[:, 1], paths[:, 2]]
    log_joint += np.log(transitions)[paths[:, 2], paths[:, 3]]
    log_joint += log_evidence[present][range(4), paths].sum(axis=1)
    result = markov_chain.smooth(log_evidence, initial, transitions)
    np.testing.assert_allclose(result.log_likelihood, np.logaddexp.reduce(log_joint))
    np.testing.assert_allclose(result.log_context[2], result.log_marginals[2], atol=1e-12)


def test_renumbering_states_renumbers_results():
    rng = np.random.default_rng(4)
    initial, transitions = make_chain(rng, 5)
    log_evidence = rng.normal(size=(80, 5))
    order = rng.permutation(5)
    before = markov_chain.smooth(log_evidence, initial, transitions)
    after = markov_chain.smooth(
        log_evidence[:, order], initial[order], transitions[np.ix_(order, order)]
    )
    np.testing.assert_allclose(after.log_marginals, before.log_marginals[:, order], atol=1e-10)
    np.testing.assert_allclose(
        after.counts.transitions, before.counts.transitions[np.ix_(order, order)], atol=1e-10
    )


@pytest.mark.parametrize("sharpness", [1.0, 700.0, 1e5, np.inf])
@pytest.mark.parametrize("zeros", [False, True])
def test_extreme_evidence_gives_finite_posteriors(sharpness, zeros):
    rng = np.random.default_rng(5)
    transitions = np.roll(np.eye(6), 1, axis=1) if zeros else make_chain(rng, 6)[1]
    initial = np.eye(6)[0] if zeros else np.full(6, 1 / 6)
    told = rng.integers(6, size=500)
    log_evidence = np.where(told[:, None] == np.arange(6), 0.0, -sharpness)
    if zeros and sharpness == np.inf:
        for function in (markov_chain.smooth, markov_chain.most_likely_path):
            with pytest.raises(ValueError, match="No path of states explains sequence 0: at row"):
                function(log_evidence, initial, transitions)
        return
    result = markov_chain.smooth(log_evidence, initial, transitions)
    assert np.isfinite(result.log_likelihood)
    np.testing.assert_allclose(np.exp(result.log_context).sum(axis=1), 1.0)
    np.testing.assert_allclose(np.exp(result.log_marginals).sum(axis=1), 1.0)
    np.testing.assert_allclose(result.counts.transitions.sum(), 499, rtol=1e-9)
    if zeros:  # one path only
        assert result.log_likelihood == -sharpness * np.sum(told != np.arange(500) % 6)
        path, log_joint = markov_chain.most_likely_path(log_evidence, initial, transitions)
        np.testing.assert_array_equal(path, np.arange(500) % 6)
        assert log_joint == result.log_likelihood


LEFT_RIGHT = np.array([[0.6, 0.3, 0.1], [0.0, 0.7, 0.3], [0.0, 0.0, 1.0]])


@pytest.fixture(params=["compiled", "numpy"])
def scans(request, monkeypatch):
    """With numba, and without it."""
    if request.param == "compiled":
        pytest.importorskip("numba")
    else:
        monkeypatch.setattr(chain_passes, "_compiled", no_numba)
        monkeypatch.setattr(chain_scan, "compiled", lambda: None)


def no_numba():
    raise ImportError


@pytest.mark.parametrize("sharpness", [2.0, 400.0, 2000.0])
@pytest.mark.parametrize("initial", [[1.0, 0.0, 0.0], [0.5, 0.0, 0.5]])
def test_zeros_equal_enumeration(scans, initial, sharpness):
    """Evidence against the order weighs what it says, a thousand nats or more; zeros stay."""
    rng = np.random.default_rng(0)
    initial = np.array(initial)
    for _ in range(20):
        log_evidence = sharpness * rng.normal(size=(7, 3))
        log_evidence[rng.random((7, 3)) < 0.1] = -np.inf
        log_evidence[:, 2] = sharpness * rng.normal(size=7)
        with np.errstate(divide="ignore", invalid="ignore"):
            paths, log_joint = enumerate_paths(log_evidence, initial, LEFT_RIGHT)
            if log_joint.max() == -np.inf:
                continue
            marginals, pairs, log_likelihood = expectations(log_evidence, initial, LEFT_RIGHT)
        result = markov_chain.smooth(log_evidence, initial, LEFT_RIGHT)
        np.testing.assert_allclose(np.exp(result.log_marginals), marginals, atol=1e-9)
        np.testing.assert_allclose(result.counts.transitions, pairs, atol=1e-9)
        np.testing.assert_allclose(result.log_likelihood, log_likelihood, rtol=1e-12)
        np.testing.assert_allclose(result.log_predictive.sum(), log_likelihood, rtol=1e-12)
        assert (result.counts.transitions[LEFT_RIGHT == 0.0] == 0.0).all()
        path, score = markov_chain.most_likely_path(log_evidence, initial, LEFT_RIGHT)
        np.testing.assert_allclose(score, log_joint.max(), rtol=1e-12)
        np.testing.assert_array_equal(path, paths[log_joint.argmax()])
        drawn = markov_chain.sample_paths(log_evidence, initial, LEFT_RIGHT, 50, rng=rng)
        assert (LEFT_RIGHT[drawn[:, :-1], drawn[:, 1:]] > 0).all()


def test_what_was_left_behind_comes_back(scans):
    """First 800 nats for state 2, then 60 nats a step for state 0, which 2 cannot reach."""
    log_evidence = np.array([[-800.0, -800.0, 0.0], *[[0.0, -60.0, -60.0]] * 14])
    result = markov_chain.smooth(log_evidence, np.full(3, 1 / 3), LEFT_RIGHT)
    assert np.exp(result.log_marginals[0, 0]) > 0.99
    path, _ = markov_chain.most_likely_path(log_evidence, np.full(3, 1 / 3), LEFT_RIGHT)
    np.testing.assert_array_equal(path, 0)


@pytest.mark.parametrize("order", ["any", "left-right", "cyclic"])
@pytest.mark.parametrize("num_states, lengths", [
    (3, [1]), (1, [5]), (3, [17]), (4, [100, 1, 1, 298]), (40, [90]), (2, [3] * 30), (4, [2000]),
])  # fmt: skip
def test_ways_to_pass_agree(scans, monkeypatch, num_states, lengths, order):
    """Whatever the order, none but the exact pass goes step by step in logarithms."""
    rng = np.random.default_rng(sum(lengths))
    initial, transitions = make_chain(rng, num_states)
    if order != "any":
        allowed = np.eye(num_states) + np.eye(num_states, k=1)
        allowed[-1, 0] = order == "cyclic" or num_states == 1
        transitions = np.where(allowed, transitions, 0.0)
        transitions /= transitions.sum(axis=1, keepdims=True)
    log_evidence = 2.0 * rng.normal(size=(sum(lengths), num_states)) - 1000.0
    chain = log_evidence, initial, transitions, check_lengths(lengths)
    exact = chain_passes.smooth(*chain)
    monkeypatch.setattr(chain_passes, "smooth", None)
    for found in (chain_blocks.smooth(*chain, True), markov_chain._pass(*chain, filtered=True)):
        for name, part, expected in zip(found._fields, found, exact, strict=True):
            if name in ("log_context", "log_marginals", "log_filtered"):
                part, expected = np.exp(part), np.exp(expected)
            np.testing.assert_allclose(part, expected, atol=1e-9)
    path, score = markov_chain.most_likely_path(log_evidence, initial, transitions, lengths)
    best = np.empty_like(path)
    with np.errstate(divide="ignore"):
        logs = np.log(initial), np.log(transitions).T
    room = np.empty(log_evidence.shape)
    expected = chain_scan._best_path(log_evidence, chain[3], *logs, room, best)
    np.testing.assert_array_equal(path, best)
    np.testing.assert_allclose(score, expected)


@pytest.mark.parametrize("size", [1, 7, 64])
def test_what_blocks_cannot_tell_is_left_to_the_exact_pass(monkeypatch, size):
    """Whole blocks speak for a state that cannot be reached, or nothing can be."""
    monkeypatch.setattr(chain_scan, "compiled", lambda: None)
    monkeypatch.setattr(chain_blocks, "_block_length", lambda *_: size)
    log_evidence = np.where(np.arange(4)[::-1] == np.arange(200)[:, None] // 50, 0.0, -80.0)
    transitions = 0.5 * np.eye(4) + 0.5 * np.eye(4, k=1)
    transitions[-1, -1] = 1.0
    chain = np.full(4, 0.25), transitions
    found = markov_chain.smooth(log_evidence, *chain)
    exact = chain_passes.smooth(log_evidence, *chain, np.array([200]))
    np.testing.assert_allclose(np.exp(found.log_marginals), np.exp(exact.log_marginals), atol=1e-9)
    np.testing.assert_allclose(found.log_likelihood, exact.log_predictive.sum())
    log_evidence = np.where(np.arange(200)[:, None] // 150 == [1, 2, 2, 0], 0.0, -np.inf)
    for function in (markov_chain.smooth, markov_chain.most_likely_path):
        with pytest.raises(ValueError, match="sequence 1: at row 150"):
            function(log_evidence, *chain, [100, 100])


def test_predictive_parts_belong_to_their_sequences():
    rng = np.random.default_rng(3)
    initial, transitions = make_chain(rng, 3)
    log_evidence = rng.normal(size=(12, 3))
    together = markov_chain.smooth(log_evidence, initial, transitions, [5, 7]).log_predictive
    for rows in (slice(0, 5), slice(5, 12)):
        apart = markov_chain.smooth(log_evidence[rows], initial, transitions)
        np.testing.assert_allclose(together[rows].sum(), apart.log_likelihood)


def test_segments_end_with_states_and_sequences():
    path = [0, 0, 1, 1, 1, 2, 2]
    assert markov_chain.segments(path) == [(0, 2, 0), (2, 5, 1), (5, 7, 2)]
    assert markov_chain.segments(path, [4, 3]) == [(0, 2, 0), (2, 4, 1), (4, 5, 1), (5, 7, 2)]
    assert markov_chain.segments([5]) == [(0, 1, 5)]


def test_a_constant_added_to_a_row_changes_the_likelihood_only():
    rng = np.random.default_rng(6)
    initial, transitions = make_chain(rng, 3)
    log_evidence = rng.normal(size=(50, 3))
    shifts = 1e4 * rng.normal(size=(50, 1))
    plain = markov_chain.smooth(log_evidence, initial, transitions)
    shifted = markov_chain.smooth(log_evidence + shifts, initial, transitions)
    np.testing.assert_allclose(shifted.log_marginals, plain.log_marginals, atol=1e-9)
    np.testing.assert_allclose(shifted.log_likelihood, plain.log_likelihood + shifts.sum())


def test_viterbi_finds_the_best_of_all_paths():
    rng = np.random.default_rng(7)
    initial, transitions = make_chain(rng, 3)
    log_evidence = 2.0 * rng.normal(size=(7, 3))
    paths, log_joint = enumerate_paths(log_evidence, initial, transitions)
    path, score = markov_chain.most_likely_path(log_evidence, initial, transitions)
    np.testing.assert_array_equal(path, paths[log_joint.argmax()])
    np.testing.assert_allclose(score, log_joint.max())


def test_sampled_paths_have_the_posterior_frequencies():
    rng = np.random.default_rng(8)
    initial, transitions = make_chain(rng, 3)
    log_evidence = rng.normal(size=(4, 3))
    paths, log_joint = enumerate_paths(log_evidence, initial, transitions)
    expected = np.exp(log_joint - np.logaddexp.reduce(log_joint))
    drawn = markov_chain.sample_paths(log_evidence, initial, transitions, 40_000, rng=rng)
    frequency = np.bincount(drawn @ 3 ** np.arange(3, -1, -1), minlength=81) / 40_000
    np.testing.assert_allclose(frequency, expected, atol=5 * np.sqrt(0.25 / 40_000))


def test_counts_of_sampled_paths_estimate_expected_counts():
    rng = np.random.default_rng(9)
    initial, transitions = make_chain(rng, 3)
    log_evidence, lengths = rng.normal(size=(30, 3)), [10, 20]
    expected = markov_chain.smooth(log_evidence, initial, transitions, lengths).counts
    paths = markov_chain.sample_paths(
        log_evidence, initial, transitions, 5000, lengths=lengths, rng=rng
    )
    counts = markov_chain.count(paths, 3, lengths)
    assert counts.transitions.sum() == pytest.approx(28)
    np.testing.assert_allclose(counts.transitions, expected.transitions, atol=0.2)
    np.testing.assert_allclose(counts.initial, expected.initial, atol=0.05)


def test_sampling_the_chain_follows_its_probabilities():
    rng = np.random.default_rng(10)
    initial, transitions = np.array([0.5, 0.3, 0.2]), make_chain(rng, 3)[1]
    states = markov_chain.sample(initial, transitions, [3] * 20_000, rng).reshape(-1, 3)
    first = np.bincount(states[:, 0], minlength=3) / len(states)
    np.testing.assert_allclose(first, initial, atol=0.02)
    counts = markov_chain.count(states, 3).transitions
    counts = counts / counts.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(counts, transitions, atol=0.03)


@pytest.mark.parametrize("lengths", [[3, 3], [5, 0], [2.5, 2.5], 5, [[5]]])
def test_wrong_lengths_are_told(lengths):
    with pytest.raises(ValueError, match="lengths"):
        markov_chain.smooth(np.zeros((5, 2)), np.full(2, 0.5), np.full((2, 2), 0.5), lengths)


def test_a_step_at_which_nothing_is_possible_is_told():
    log_evidence = np.zeros((5, 2))
    log_evidence[3] = -np.inf
    with pytest.raises(ValueError, match="row 3"):
        markov_chain.smooth(log_evidence, np.full(2, 0.5), np.full((2, 2), 0.5))
