"""Naming games: with what agents know held fixed, signs are samples of the product."""

import numpy as np
import pytest

from kserket.inference import experts, naming_game


def agents(num_agents, num_objects=60, num_signs=4, sharpness=0.5, seed=0):
    """Evidence (M, N, K) and the exact p(w | all agents) (N, K)."""
    rng = np.random.default_rng(seed)
    concentration = np.full(num_signs, sharpness)
    evidence = np.log(rng.dirichlet(concentration, size=(num_agents, num_objects)) + 1e-2)
    return evidence, exact(evidence)


def exact(evidence, log_prior=0.0):
    total = evidence.sum(axis=0) + log_prior
    probs = np.exp(total - total.max(axis=1, keepdims=True))
    return probs / probs.sum(axis=1, keepdims=True)


def frequencies(evidence, protocol, seen=None, log_prior=None, copies=100, turns=250, **options):
    """How often each sign is used for each object, by copies of it, after a tenth of the turns."""
    seen = np.ones(evidence.shape[:2], bool) if seen is None else seen
    many, looks = np.tile(evidence, (1, copies, 1)), np.tile(seen, (1, copies))
    prior = None if log_prior is None else np.tile(log_prior, (copies, 1))
    rng = np.random.default_rng(1)
    signs = naming_game.first_signs(many, looks)
    counts = np.zeros(evidence.shape[1:])
    for turn in range(turns):
        signs, _ = naming_game.play(many, looks, signs, rng, protocol, log_prior=prior, **options)
        if turn >= turns // 10:
            named = np.flatnonzero(signs >= 0)
            np.add.at(counts, (named % len(counts), signs[named]), 1)
    return counts / (copies * (turns - turns // 10))


def distance(found, expected):
    """Mean total variation."""
    return 0.5 * np.abs(found - expected).sum(axis=1).mean()


@pytest.mark.parametrize("protocol", ["metropolis", "unanimous", "recursive", "gibbs"])
def test_signs_of_two_agents_follow_the_product(protocol):
    evidence, expected = agents(2)
    assert np.abs(frequencies(evidence, protocol) - expected).max() < 0.02


@pytest.mark.parametrize("protocol", ["metropolis", "unanimous", "gibbs"])
def test_signs_of_four_agents_follow_the_product(protocol):
    evidence, expected = agents(4)
    assert distance(frequencies(evidence, protocol), expected) < 0.01


def test_the_more_proposals_the_closer_a_recursive_game_is():
    evidence, expected = agents(4)
    off = [
        distance(frequencies(evidence, "recursive", copies=30, num_inner=inner), expected)
        for inner in (1, 2)
    ]
    assert off[1] < 0.01 < off[0] < 0.05


def test_two_agents_are_unanimous_where_metropolis_accepts():
    evidence, _ = agents(2)
    seen = np.random.default_rng(3).random(evidence.shape[:2]) < 0.8
    evidence = np.where(seen[..., None], evidence, 0.0)
    first = naming_game.first_signs(evidence, seen)
    played = [
        naming_game.play(evidence, seen, first, np.random.default_rng(0), protocol, num_turns=9)
        for protocol in ("metropolis", "unanimous")
    ]
    assert (played[0][0] == played[1][0]).all() and played[0][1] == played[1][1]


def test_believing_everybody_is_not_the_product():
    evidence, expected = agents(2)
    found = frequencies(evidence, "accept_all", turns=50)
    assert distance(found, expected) > 0.1
    alone = np.exp(evidence) / np.exp(evidence).sum(axis=2, keepdims=True)
    assert distance(found, alone.mean(axis=0)) < 0.02  # each is the last one for some objects


def test_a_prior_is_a_factor():
    evidence, _ = agents(2)
    log_prior = np.log(np.random.default_rng(5).dirichlet(np.ones(4), size=60))
    for protocol in ("metropolis", "unanimous", "recursive"):
        found = frequencies(evidence, protocol, log_prior=log_prior, num_inner=2, copies=20)
        assert distance(found, exact(evidence, log_prior)) < 0.02


@pytest.mark.parametrize("protocol", ["metropolis", "unanimous", "recursive", "gibbs"])
def test_who_has_not_seen_an_object_says_nothing_about_it(protocol):
    evidence, _ = agents(3)
    seen = np.random.default_rng(2).random(evidence.shape[:2]) < 0.6
    evidence = np.where(seen[..., None], evidence, 0.0)
    found = frequencies(evidence, protocol, seen, num_inner=2, copies=20)
    named = seen.any(axis=0)
    assert distance(found[named], exact(evidence)[named]) < 0.02
    assert (found[~named] == 0).all()


def test_an_object_that_nobody_has_seen_stays_unnamed():
    evidence = np.zeros((2, 1, 3))
    seen = np.zeros((2, 1), bool)
    signs = naming_game.first_signs(evidence, seen)
    signs, accepted = naming_game.play(evidence, seen, signs, np.random.default_rng(0))
    assert signs.tolist() == [naming_game.UNNAMED] and accepted == 0.0


def test_no_game_changes_nothing():
    evidence, _ = agents(2)
    signs = np.arange(60) % 4
    after, _ = naming_game.play(
        evidence, np.ones((2, 60), bool), signs, np.random.default_rng(0), "none"
    )
    assert (after == signs).all()


def noisy_experts(num_experts, accuracy, seed, num_samples=1000, num_classes=10):
    """Experts that are right with some probability, each in a numbering of its own."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(num_classes, size=num_samples)
    logs, numbering = [], []
    for _ in range(num_experts):
        guess = rng.integers(num_classes, size=num_samples)
        said = np.where(rng.random(num_samples) < accuracy, truth, guess)
        probs = np.full((num_samples, num_classes), (1 - accuracy) / (num_classes - 1))
        probs[np.arange(num_samples), said] = accuracy
        order = rng.permutation(num_classes)
        numbering.append(order)
        logs.append(np.log(probs[:, np.argsort(order)]))
    return np.stack(logs), np.stack(numbering)


@pytest.mark.parametrize("num_experts, accuracy", [(2, 0.8), (3, 0.8), (5, 0.6)])
def test_experts_are_matched(num_experts, accuracy):
    for seed in range(5):
        evidence, truth = noisy_experts(num_experts, accuracy, seed)
        found = experts.match_classes(evidence, np.ones(evidence.shape[:2], bool))
        expected = truth[:, np.argsort(truth[0])]  # up to the names of the classes
        assert (found[:, np.argsort(found[0])] == expected).all()


def test_a_matching_stays_where_another_is_hardly_better():
    evidence, truth = noisy_experts(3, 0.8, 0)
    seen = np.ones(evidence.shape[:2], bool)
    renamed = truth[:, np.random.default_rng(1).permutation(10)]
    assert (experts.match_classes(evidence, seen, renamed) == renamed).all()


def test_own_numbering_undoes_the_common_one():
    evidence, numbering = noisy_experts(2, 0.7, 0)
    alike = experts.numbered_alike(evidence, numbering)
    for part, rows, order in zip(evidence, alike, numbering, strict=True):
        np.testing.assert_array_equal(experts.own_numbering(rows, order), part)
