"""Multimodal latent Dirichlet allocation: every word of a document has a topic of its own.

    theta_d ~ Dirichlet(alpha)                       the topics of document d
    phi_mk  ~ Dirichlet(beta_m)                      the words of topic k in modality m
    z_n ~ theta_d (times class_prior_d), w_n ~ phi_mz    for each word n of d in modality m

Learned by collapsed variational inference with zero-order terms (CVB0), vectorized over the cells
in use. Counts may be fractions: a cell of c words has min(c, 1) of them taken out where it is
asked what the others say. With topics fixed, the proportions of a document maximize a concave
function (`proportions`), so that messages depend on nothing but the document and the topics.

Reference:
    D. M. Blei, A. Y. Ng and M. I. Jordan, Latent Dirichlet allocation, JMLR 3 (2003); A. Asuncion,
    M. Welling, P. Smyth and Y. W. Teh, On smoothing and inference for topic models, UAI (2009).
"""

from typing import NamedTuple

import numpy as np

from kserket.floors import SMALLEST
from kserket.hosts import any_host, sum_over_hosts
from kserket.inference import word_counts

BLOCK_CELLS = 2**15  # cells that are worked on at a time, few enough to stay in cache
_KEEP_ABOVE = 0.8  # share of documents that still move, below which the others are put aside
_FORGET = 0.1  # share of each document that a start leaves to all topics alike


class Fit(NamedTuple):
    """What learning arrived at."""

    words: tuple  # M arrays (K, V_m): how often each word stands in each topic
    documents: np.ndarray  # (N, K): how many words of each document each topic has
    objectives: np.ndarray  # (sweeps,), log P(each word | all others), summed


def topics(words, beta):
    """P(word | topic) of each modality.

    Args:
        words: M arrays (K, V_m) of counts.
        beta: M pseudo-counts, numbers or (V_m,).

    Returns:
        Tuple of (K, V_m).
    """
    return tuple(_rows(n + b) for n, b in zip(words, beta, strict=True))


def fit(
    counts,
    alpha,
    beta,
    start,
    *,
    class_prior=None,
    num_sweeps=100,
    tolerance=0.0,
    callback=None,
):
    """CVB0 sweeps.

    Args:
        counts: M arrays (N, V_m) as `word_counts.read` has them.
        alpha: Dirichlet parameters of topics in a document, (K,).
        beta: M Dirichlet parameters of words in a topic, numbers or (V_m,).
        start: (N, K) first guess of every document's topics, rows summing to one; or `topics`,
            M arrays (K, V_m), to go on from.
        class_prior: (N, K) factors of each document's topics, or None.
        num_sweeps: At most.
        tolerance: Sweeps end when one changes the mean log probability of a word by less; None does
            every sweep.
        callback: Called as callback(sweep, num_sweeps, objective, fit) after each;
            StopIteration ends the run with what is reached.

    Returns:
        `Fit`.
    """
    alpha = np.asarray(alpha, np.float64)
    if isinstance(start, tuple):
        theta = proportions(counts, start, alpha, class_prior=class_prior)
        cells = [_Cells(c, theta, phi) for c, phi in zip(counts, start, strict=True)]
    else:
        theta = (1.0 - _FORGET) * start + _FORGET / start.shape[1]
        cells = [_Cells(c, theta) for c in counts]
    documents = sum(modality.documents() for modality in cells)
    words = [sum_over_hosts(modality.words()) for modality in cells]
    total = sum_over_hosts(float(sum(c.sum() for c in counts)))
    objectives = []

    def reached():
        return Fit(tuple(n.T for n in words), documents, np.array(objectives))

    for sweep in range(1, num_sweeps + 1):
        log_probability, new_documents = 0.0, np.zeros_like(documents)
        for m, modality in enumerate(cells):
            log_probability += modality.sweep(documents, words[m], alpha, beta[m], class_prior)
            new_documents += modality.documents()
            words[m] = sum_over_hosts(modality.words())
        documents = new_documents
        log_probability = sum_over_hosts(log_probability)
        objectives.append(log_probability)
        stops = tolerance is not None and sweep > 1
        stops = stops and abs(objectives[-1] - objectives[-2]) < tolerance * total
        if callback is not None:
            try:
                callback(sweep, num_sweeps, log_probability, reached())
            except StopIteration:
                stops = True
        if any_host(stops):
            break
    return reached()


class _Cells:
    """The cells in use of one modality, and what is believed of the topics of their words."""

    def __init__(self, counts, theta, topics=None):
        from scipy import sparse

        counts = sparse.csr_array(counts)
        number = counts.nnz
        self.shape, self.indptr = counts.shape, counts.indptr
        self.row = np.repeat(np.arange(self.shape[0]), np.diff(counts.indptr))
        self.column = counts.indices
        self.own = np.minimum(counts.data, 1.0)[:, None]
        self.gamma = theta[self.row]
        if topics is not None:
            self.gamma *= topics.T[self.column]
            self.gamma = _rows(np.maximum(self.gamma, SMALLEST))
        self.to_documents = sparse.csr_array(
            (counts.data, np.arange(number), counts.indptr), shape=(self.shape[0], number)
        )
        self.to_words = sparse.csr_array(
            (counts.data, (self.column, np.arange(number))), shape=(self.shape[1], number)
        )

    def documents(self):
        """(N, K) expected words of each topic in each document."""
        return self.to_documents @ self.gamma

    def words(self):
        """(V, K) expected occurrences of each word in each topic."""
        return self.to_words @ self.gamma

    def sweep(self, documents, words, alpha, beta, class_prior):
        """Updates all cells from the same sums; returns the log probability of their words."""
        beta = np.broadcast_to(beta, self.shape[1])[:, None]
        topic_totals, smooth_total = words.sum(axis=0), beta.sum()
        smoothed, result = words + beta, 0.0
        known = documents + alpha
        for start in range(0, len(self.row), BLOCK_CELLS):
            block = slice(start, start + BLOCK_CELLS)
            row, gamma = self.row[block], self.gamma[block]
            own = gamma * self.own[block]
            weight = known[row] - own
            np.maximum(weight, SMALLEST, out=weight)
            if class_prior is not None:
                weight *= class_prior[row]
            np.subtract(smoothed[self.column[block]], own, out=gamma)
            np.maximum(gamma, SMALLEST, out=gamma)
            gamma *= weight
            np.subtract(topic_totals + smooth_total, own, out=own)
            gamma /= own
            total = gamma.sum(axis=1)
            gamma /= np.maximum(total, SMALLEST)[:, None]
            number = self.to_documents.data[block]
            possible = total > 0.0
            if not possible.all():
                gamma[~possible] = 1.0 / gamma.shape[1]
            ratio = np.log(np.maximum(total, SMALLEST) / np.maximum(weight.sum(axis=1), SMALLEST))
            result += float(number @ ratio)
        return result


def proportions(counts, topics, alpha, *, class_prior=None, max_sweeps=200, tolerance=1e-7):
    """P(topic | document) with topics fixed: (expected words + alpha), normalized.

    They maximize sum_w count_w log sum_k theta_k phi_kw + sum_k alpha_k log theta_k, a concave
    function; each document stops on its own, so that chunks of documents give what the whole does.

    Args:
        counts: M arrays (N, V_m); rows of zeros say nothing.
        topics: M arrays (K, V_m), P(word | topic).
        alpha: (K,), positive.
        class_prior: (N, K) factors of each document's topics, or None.
        max_sweeps: At most, for each document.
        tolerance: A document stops when none of its proportions changes by more.

    Returns:
        (N, K), rows summing to one.
    """
    alpha = np.asarray(alpha, np.float64)
    result = np.broadcast_to(alpha / alpha.sum(), (counts[0].shape[0], len(alpha))).copy()
    rows, parts, factors = np.arange(len(result)), counts, class_prior
    moving = sum(word_counts.totals(part) for part in counts) > 0
    for _ in range(max_sweeps):
        if moving.mean() < _KEEP_ABOVE:
            rows, parts = rows[moving], [part[moving] for part in parts]
            factors, moving = None if factors is None else factors[moving], moving[moving]
        if not len(rows):
            break
        theta = result[rows]
        weight = theta if factors is None else theta * factors
        new = alpha + sum(
            _expected(part, weight, phi) for part, phi in zip(parts, topics, strict=True)
        )
        new = np.where(moving[:, None], _rows(new), theta)
        result[rows] = new
        moving &= np.abs(new - theta).max(axis=1) > tolerance
    return result


def expected_words(counts, theta, topics):
    """How often each word is expected in each topic, under fixed proportions and topics.

    Sums over documents: those of parts add up to those of the whole.

    Args:
        counts: M arrays (N, V_m).
        theta: (N, K) proportions, times a class prior if there is one.
        topics: M arrays (K, V_m).

    Returns:
        Tuple of M arrays (K, V_m).
    """
    from scipy import sparse

    sums = []
    for c, phi in zip(counts, topics, strict=True):
        ratio = _ratio(c, theta, phi)
        sums.append(phi * np.asarray(sparse.csr_array(ratio).T @ theta).T)
    return tuple(sums)


def log_probabilities(counts, theta, topics):
    """log P(words | document) of one modality, words in the order they came, (N,).

    Args:
        counts: (N, V).
        theta: (N, K) proportions of topics.
        topics: (K, V), P(word | topic).
    """
    if isinstance(counts, np.ndarray):
        return np.sum(counts * np.log(np.maximum(theta @ topics, SMALLEST)), axis=1)
    result, by_word = np.empty(counts.shape[0]), np.ascontiguousarray(topics.T)
    for rows, cells, row, column in _blocks(counts):
        probability = np.einsum("ck,ck->c", theta[rows][row], by_word[column])
        logs = counts.data[cells] * np.log(np.maximum(probability, SMALLEST))
        result[rows] = np.bincount(row, logs, minlength=rows.stop - rows.start)
    return result


def _expected(counts, theta, topics):
    """theta_k sum_w count_w phi_kw / sum_l theta_l phi_lw, (N, K)."""
    return theta * np.asarray(_ratio(counts, theta, topics) @ topics.T)


def _ratio(counts, theta, topics):
    """count_w / P(w | d), of the same kind as `counts`."""
    from scipy import sparse

    if isinstance(counts, np.ndarray):
        return counts / np.maximum(theta @ topics, SMALLEST)
    values = np.empty(counts.nnz)
    by_word = np.ascontiguousarray(topics.T)
    for rows, cells, row, column in _blocks(counts):
        probability = np.einsum("ck,ck->c", theta[rows][row], by_word[column])
        values[cells] = counts.data[cells] / np.maximum(probability, SMALLEST)
    return sparse.csr_array((values, counts.indices, counts.indptr), shape=counts.shape)


def _blocks(counts):
    """Slices of rows and of their cells, with each cell's row within the slice, and column."""
    start, num_rows = 0, counts.shape[0]
    while start < num_rows:
        stop = int(np.searchsorted(counts.indptr, counts.indptr[start] + BLOCK_CELLS, "right")) - 1
        stop = min(max(stop, start + 1), num_rows)
        cells = slice(counts.indptr[start], counts.indptr[stop])
        row = np.repeat(np.arange(stop - start), np.diff(counts.indptr[start : stop + 1]))
        yield slice(start, stop), cells, row, counts.indices[cells]
        start = stop


def _rows(values):
    """Rows divided by their sums."""
    return values / values.sum(axis=-1, keepdims=True)
