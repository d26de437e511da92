"""How many topics there are, where each document has one: groups merged while the evidence grows.

A partition of documents into classes z, each with words of its own, has the evidence

    log p(W, z) = sum_k (log concentration + log Gamma(n_k) + sum_m log p(W_mk)) + constant,

where log p(W_mk) is the Dirichlet-multinomial likelihood of the words of modality m in class k, and
the rest the probability of the partition by the Chinese restaurant process. Where several words are
worth one, the likelihood has the power that it has in learning. A report counts as one word, shared
out as it states.

Reference:
    K. A. Heller and Z. Ghahramani, Bayesian hierarchical clustering, ICML 2005.
"""

import numpy as np

from kserket.inference import document_classes
from kserket.inference.agglomeration import agglomerate

MAX_TOPICS = 50
CONCENTRATION = 1.0 / MAX_TOPICS  # of the Chinese restaurant process
NUM_STARTS = 5
_ROUNDS, _REASSIGNMENTS = 4, 10


def search(data, prior, max_topics=MAX_TOPICS, n_init=NUM_STARTS, rng=None):
    """Topics of the partition of highest evidence among those that several starts lead to.

    Args:
        data: `document_classes.Modality`s, M of them.
        prior: `document_classes.Prior`.
        max_topics: How many there are at most.
        n_init: How many starts to compare.
        rng: `numpy.random.Generator`, or a seed.

    Returns:
        `document_classes.State` of as many topics as were found.
    """
    rng = np.random.default_rng(rng)
    features = document_classes.start_features(data)
    best, evidence = None, -np.inf
    for _ in range(n_init):
        groups = document_classes.start(features, max_topics, rng)
        state = _refined(data, prior, groups)
        value = log_evidence(data, prior, (state.documents, *state.words)).sum()
        if best is None or value > evidence:
            best, evidence = state, value
    return best


def log_evidence(data, prior, sums):
    """What each class adds to log p(W, z), up to a constant of the documents.

    Args:
        data: `document_classes.Modality`s, of which the powers are used.
        prior: `document_classes.Prior`.
        sums: Documents (K,), and how often each word stands in them, M arrays (K, V_m).

    Returns:
        (K,).
    """
    from scipy.special import gammaln

    documents, *words = sums
    evidence = np.log(CONCENTRATION) + gammaln(documents)
    for modality, counts, beta in zip(data, words, prior.words, strict=True):
        counts = counts / modality.weight
        before = np.broadcast_to(np.asarray(beta, np.float64) / modality.weight, counts.shape[1])
        likelihood = (gammaln(counts + before) - gammaln(before)).sum(axis=1)
        likelihood += gammaln(before.sum()) - gammaln(before.sum() + counts.sum(axis=1))
        evidence = evidence + modality.weight * likelihood
    return evidence


def _refined(data, prior, rows):
    """The `State` of groups (N, G), merged, with documents moved to their most probable class."""
    state, rows = _counted(data, rows)
    for _ in range(_ROUNDS):
        sums = state.documents, *state.words
        classes = agglomerate(sums, lambda sums: log_evidence(data, prior, sums))
        if len(state.documents) == classes.max() + 1:
            break
        state, rows = _counted(data, rows @ np.eye(classes.max() + 1)[classes])
        for _ in range(_REASSIGNMENTS):
            likely = document_classes.responsibilities(data, state, prior)[0].argmax(axis=1)
            if np.array_equal(likely, rows.argmax(axis=1)):
                break
            state, rows = _counted(data, np.eye(rows.shape[1])[likely])
    return state


def _counted(data, rows):
    """The `State` of classes (N, K), and these, both without classes that have no document."""
    state = document_classes.count(data, rows)
    live = state.documents > 0
    if not live.any():  # no document says anything
        live[0] = True
    words = tuple(part[live] for part in state.words)
    return document_classes.State(words, state.documents[live]), rows[:, live]
