"""Collapsed Gibbs sampling for multimodal latent Dirichlet allocation, as in Serket.

The model of `topic_model` with proportions and topics integrated out. The topic of each word n of
document d in modality m is drawn from

    p(z_n = k | others) ~ (n_dk + alpha_k) (n_mkw + beta_m) / (n_mk + V_m beta_m) prior_dk

where the counts n are those of all other words, n_dk over all modalities. numba compiles the scan
over words where it is installed; without it Python walks the same chain, more slowly.

Reference:
    T. L. Griffiths and M. Steyvers, Finding scientific topics, PNAS 101 (2004); T. Nakamura,
    T. Araki, T. Nagai and N. Iwahashi, Grounding of word meanings in latent Dirichlet
    allocation-based multimodal concepts, Advanced Robotics 25 (2011).
"""

import functools
from typing import NamedTuple

import numpy as np

from kserket.floors import SMALLEST
from kserket.inference.compiling import compile_all


class Chain(NamedTuple):
    """Where the chain stands; a scan changes it in place."""

    document: np.ndarray  # (T,) of each word, words of a document together
    column: np.ndarray  # (T,) of each word among the vocabularies of all modalities, joined
    modality: np.ndarray  # (T,) of each word
    topic: np.ndarray  # (T,) of each word
    documents: np.ndarray  # (N, K) float64, how many words of each document each topic has
    words: np.ndarray  # (V_1 + ... + V_M, K) float64, how often each word stands in each topic
    totals: np.ndarray  # (M, K) float64, how many words of each modality each topic has
    alpha: np.ndarray  # (K,)
    beta: np.ndarray  # (V_1 + ... + V_M,)
    beta_totals: np.ndarray  # (M,)
    class_prior: np.ndarray  # (N, K)
    sizes: tuple  # (V_1, ..., V_M)


def sample(
    counts,
    alpha,
    beta,
    theta,
    topics=None,
    *,
    class_prior=None,
    num_sweeps=100,
    rng=None,
    callback=None,
):
    """Draws the topic of every word in turn, `num_sweeps` times over.

    Args:
        counts: M arrays (N, V_m) of whole numbers, see `word_counts.rounded`.
        alpha: Dirichlet parameters of topics in a document, (K,).
        beta: M Dirichlet parameters of words in a topic, numbers or (V_m,).
        theta: (N, K) topics of each document from which first topics are drawn.
        topics: M arrays (K, V_m) that weigh in the first draw, to go on from; or None.
        class_prior: (N, K) factors of each document's topics, or None.
        num_sweeps: How often each topic is drawn.
        rng: `numpy.random.Generator`, or a seed.
        callback: Called as callback(sweep, num_sweeps, log_joint, chain) after each;
            StopIteration ends the run with what is reached.

    Returns:
        `Chain`; (sweeps,) log joint probabilities of words and topics.
    """
    rng = np.random.default_rng(rng)
    chain = start(counts, alpha, beta, theta, topics, class_prior, rng)
    run = scanner()
    log_joints = []
    for sweep in range(1, num_sweeps + 1):
        run(*chain[:-1], rng.random(len(chain.topic)))
        log_joints.append(log_joint(chain))
        if callback is not None:
            try:
                callback(sweep, num_sweeps, log_joints[-1], chain)
            except StopIteration:
                break
    return chain, np.array(log_joints)


def start(counts, alpha, beta, theta, topics, class_prior, rng):
    """A `Chain` with topics drawn from theta (times topics); arguments as in `sample`."""
    from scipy import sparse

    sizes = tuple(c.shape[1] for c in counts)
    joined = sparse.csr_array(sparse.hstack([sparse.csr_array(c) for c in counts], format="csr"))
    repeats = joined.data.astype(np.int64)
    cells = np.repeat(np.arange(len(repeats)), repeats)
    document = np.repeat(np.arange(joined.shape[0]), np.diff(joined.indptr))[cells]
    column = joined.indices.astype(np.int64)[cells]
    modality = np.repeat(np.arange(len(sizes)), sizes)[column]
    weight = np.array(theta, np.float64)[document]
    if topics is not None:
        weight *= np.concatenate(topics, axis=1).T[column]
    cumulative = np.cumsum(weight, axis=1)
    drawn = rng.random((len(document), 1)) * cumulative[:, -1:]
    topic = np.minimum((cumulative <= drawn).sum(axis=1), weight.shape[1] - 1)
    alpha = np.asarray(alpha, np.float64)
    betas = [np.broadcast_to(b, v).astype(np.float64) for b, v in zip(beta, sizes, strict=True)]
    shape = (joined.shape[0], len(alpha))
    chain = Chain(
        document,
        column,
        modality,
        topic,
        np.zeros(shape),
        np.zeros((sum(sizes), len(alpha))),
        np.zeros((len(sizes), len(alpha))),
        alpha,
        np.concatenate(betas),
        np.array([b.sum() for b in betas]),
        np.ones(shape) if class_prior is None else np.array(class_prior, np.float64),
        sizes,
    )
    np.add.at(chain.documents, (document, topic), 1.0)
    np.add.at(chain.words, (column, topic), 1.0)
    np.add.at(chain.totals, (modality, topic), 1.0)
    return chain


def words(chain):
    """How often each word stands in each topic: tuple of M arrays (K, V_m)."""
    return tuple(np.split(chain.words.T, np.cumsum(chain.sizes)[:-1], axis=1))


def log_joint(chain):
    """log p(words, topics), proportions and topics integrated out, class prior included."""
    from scipy.special import gammaln

    alpha, documents = chain.alpha, chain.documents
    result = np.sum(gammaln(documents + alpha) - gammaln(alpha))
    result -= np.sum(gammaln(documents.sum(axis=1) + alpha.sum()) - gammaln(alpha.sum()))
    beta, totals = chain.beta[:, None], chain.beta_totals[:, None]
    result += np.sum(gammaln(chain.words + beta) - gammaln(beta))
    result -= np.sum(gammaln(chain.totals + totals) - gammaln(totals))
    log_prior = np.log(np.maximum(chain.class_prior, SMALLEST))
    return float(result + np.sum(documents * log_prior))


def scanner():
    """The function that draws all topics once: `_scan`, compiled if numba is here."""
    try:
        return _compile()
    except ImportError:
        return _scan


@functools.cache
def _compile():
    """The compiled `_scan`."""
    return compile_all(_scan)[0]


def _scan(
    document,
    column,
    modality,
    topic,
    documents,
    words,
    totals,
    alpha,
    beta,
    beta_totals,
    class_prior,
    uniforms,
):
    """One draw of every topic, in place; arrays as in `Chain`, uniforms (T,) from [0, 1)."""
    num_topics = len(alpha)
    cumulative = np.empty(num_topics)
    for n in range(len(document)):
        d, w, m, old = document[n], column[n], modality[n], topic[n]
        documents[d, old] -= 1.0
        words[w, old] -= 1.0
        totals[m, old] -= 1.0
        total = 0.0
        for k in range(num_topics):
            total += (
                (documents[d, k] + alpha[k])
                * class_prior[d, k]
                * (words[w, k] + beta[w])
                / (totals[m, k] + beta_totals[m])
            )
            cumulative[k] = total
        new = old
        if total > 0.0:
            threshold, new = uniforms[n] * total, 0
            while new < num_topics - 1 and cumulative[new] <= threshold:
                new += 1
        topic[n] = new
        documents[d, new] += 1.0
        words[w, new] += 1.0
        totals[m, new] += 1.0
