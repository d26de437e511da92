"""Counts of words in documents: checked, scaled, rounded, and how much they really say.

A row of zeros (or of NaN, when read) is a document that says nothing.

Reference: J. N. K. Rao and A. J. Scott, The analysis of categorical data from complex sample
surveys, Journal of the American Statistical Association 76 (1981): design effects.
"""

import numpy as np

from kserket import hosts, storage
from kserket.arrays import as_numbers

DENSE_ABOVE = 0.3  # share of cells in use above which matrix products are faster without indices
LARGEST = 1e15  # count: beyond it sums of whole numbers lose digits
_SMALLEST = 1e-100  # words that a document must hold to be brought to another length
_RIDGE = 1e-9  # relative, so that directions that do not occur divide nothing by nothing
_LEAST_DOCUMENTS = 5  # of a class from which its design effect is estimated


def read(counts, name="Counts", cure=""):
    """Counts as float64, rows of NaN as zeros.

    A large array is read some rows at a time: what is sparse, but was written out in a file, need
    not fit in memory as that.

    Args:
        counts: (N, V) array or scipy sparse matrix, not negative.
        name: What they are, for errors.
        cure: What to do where they are no counts, for the error.

    Returns:
        (N, V) CSR array; a NumPy array where most cells are in use.

    Raises:
        TypeError: If they are not real numbers.
        ValueError: If the shape is not (N, V), a value is negative, not finite or above
            `LARGEST`, or part of a row is masked.
    """
    from scipy import sparse

    if sparse.issparse(counts):
        if counts.dtype.kind not in "fiub":
            as_numbers(counts.tocoo().data, name)  # raises
        counts = sparse.csr_array(counts, dtype=np.float64)
        if not counts.has_canonical_format:  # its arrays may be those that were given
            counts = counts.copy()
            counts.sum_duplicates()
        parts = [counts]
    else:
        counts = as_numbers(counts, name, allow_missing=True)
        parts = []
    if counts.ndim != 2 or 0 in counts.shape:
        raise ValueError(f"{name} must have shape (N, V). Received: shape {counts.shape}")
    if not parts:
        parts = [_read_rows(storage.read(counts, rows)) for rows in storage.chunks(counts)]
    wrong = np.concatenate([_wrong_values(part) for part in parts])
    if len(wrong):
        raise ValueError(
            f"{name} must be finite and not negative, at most {LARGEST:g}. Received: "
            f"{len(wrong)} values that are not, the first of them {wrong[0]:g}."
            + (f" {cure}" if cure else "")
        )
    if len(parts) > 1:
        parts = [sparse.vstack([sparse.csr_array(part) for part in parts], format="csr")]
    return _compact(parts[0])


def totals(counts):
    """The number of words of each document, (N,)."""
    return np.asarray(counts.sum(axis=1)).ravel()


def are_whole(counts):
    """Whether all counts of all hosts, as `read` returns them, are whole numbers."""
    cells = counts if isinstance(counts, np.ndarray) else counts.data
    return not hosts.any_host((cells != np.floor(cells)).any())


def scale(counts, total):
    """Every document at one length, its proportions kept; documents without words stay so.

    Args:
        counts: As `read` returns them.
        total: Words that each document shall have.

    Returns:
        The same kind of array.
    """
    length = totals(counts)
    known = length > _SMALLEST
    return times(counts, np.divide(total, length, out=np.zeros_like(length), where=known))


def times(counts, factors):
    """Counts with each row multiplied by its factor; factors are (N,) or a number."""
    if isinstance(counts, np.ndarray):
        return counts * np.reshape(factors, (-1, 1))
    factors = np.broadcast_to(factors, counts.shape[0])
    result = counts.copy()
    result.data *= np.repeat(factors, np.diff(counts.indptr))
    return result


def rounded(counts):
    """Whole numbers that keep each row's total to the nearest: largest remainders go up.

    Args:
        counts: As `read` returns them.

    Returns:
        (N, V) int64 CSR array.
    """
    from scipy import sparse

    counts = sparse.csr_array(counts)
    whole = np.floor(counts.data)
    rows = np.repeat(np.arange(counts.shape[0]), np.diff(counts.indptr))
    remainders = counts.data - whole
    still = np.rint(totals(counts)) - np.bincount(rows, whole, counts.shape[0])
    order = np.lexsort((-remainders, rows))
    rank = np.arange(len(order)) - counts.indptr[rows]  # place within its row, once sorted
    up = np.zeros(len(order))
    up[order] = rank < still[rows]
    result = sparse.csr_array(
        ((whole + up).astype(np.int64), counts.indices, counts.indptr), shape=counts.shape
    )
    result.eliminate_zeros()
    return result


def design_effect(counts, responsibilities, beta):
    """How many words count as one independent word, where it matters most.

    Words of a document come in bunches: its scores of one class against another vary more between
    documents of one class than a multinomial has it. The factor, in the direction of scores in
    which it is largest, is the largest generalized design effect: divided by it, counts say no
    more than they know. It is 1 for counts that are multinomial, and the total of a document that
    repeats a single word. The largest of several effects that were estimated from n documents is
    too large; what it is on average is known (Baik and Silverstein, Eigenvalues of large sample
    covariance matrices of spiked population models, 2006) and taken back.

    Args:
        counts: As `read` returns them.
        responsibilities: (N, K) of the classes the documents are in.
        beta: Pseudo-count of every word in every class, a number or (V,).

    Returns:
        A float, 1 at least: the median over classes, since one that holds two kinds of documents
        varies for another reason.
    """
    from scipy import linalg

    used = np.flatnonzero(totals(counts) > 0)
    counts, responsibilities = counts[used], responsibilities[used]
    length = totals(counts)
    topics = np.asarray(counts.T @ responsibilities).T + beta  # (K, V)
    topics /= topics.sum(axis=1, keepdims=True)
    logs = np.log(topics)
    scores = counts @ logs.T / length[:, None]  # (N, K), a mean over words
    classes = responsibilities.argmax(axis=1)
    effects = []
    for k in range(len(topics)):
        members = classes == k
        if members.sum() < _LEAST_DOCUMENTS:
            continue
        against = np.delete(logs - logs[k], k, axis=0)
        against -= (against @ topics[k])[:, None]
        expected = (against * topics[k]) @ against.T
        found = np.delete(scores[members] - scores[members, k : k + 1], k, axis=1)
        found -= found.mean(axis=0)
        found = (found * length[members, None]).T @ found / (members.sum() - 1.0)
        size = np.trace(expected)
        if size > 0.0:
            ridge = _RIDGE * size * np.eye(len(expected))
            largest = linalg.eigvalsh(found, expected + ridge)[-1]
            effects.append(_without_bias(largest, len(expected) / (members.sum() - 1.0)))
    return float(np.median(effects)) if effects else 1.0


def gathered(counts, rows):
    """Some rows of all hosts in order, on all of them.

    Args:
        counts: As `read` returns them, of this host.
        rows: Integers (n,), which of its rows.

    Returns:
        An array of the kind that `read` returns.
    """
    from scipy import sparse

    part = counts[rows]
    if hosts.any_host(isinstance(part, np.ndarray)):
        part = part if isinstance(part, np.ndarray) else part.toarray()
        return _compact(hosts.gather_rows(part))
    lengths, indices, data = map(hosts.gather_rows, (np.diff(part.indptr), part.indices, part.data))
    ends = np.concatenate([[0], np.cumsum(lengths)])
    return _compact(sparse.csr_array((data, indices, ends), shape=(len(lengths), part.shape[1])))


def _without_bias(largest, ratio):
    """The true largest eigenvalue, 1 at least, from one estimated in `ratio` directions a datum."""
    if largest <= (1.0 + np.sqrt(ratio)) ** 2:
        return 1.0
    middle = largest + 1.0 - ratio
    return 0.5 * (middle + np.sqrt(middle**2 - 4.0 * largest))


def _read_rows(counts):
    """Some rows in double precision, those of NaN at zero; CSR if most cells are empty."""
    counts = np.array(counts, np.float64)
    counts[np.isnan(counts).all(axis=1)] = 0.0
    return _compact(counts)


def _wrong_values(counts):
    """The values that no count has."""
    values = counts if isinstance(counts, np.ndarray) else counts.data
    return values[~((values >= 0.0) & (values <= LARGEST))]


def _compact(counts):
    """CSR, or a NumPy array where most cells are in use."""
    from scipy import sparse

    if sparse.issparse(counts):
        filled = counts.nnz / (counts.shape[0] * counts.shape[1])
        return counts.toarray() if filled > DENSE_ABOVE else counts
    if np.count_nonzero(counts) > DENSE_ABOVE * counts.size:
        return counts
    return sparse.csr_array(counts)
