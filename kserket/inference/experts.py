"""Several experts on one class: their classes matched, their opinions multiplied.

Expert m states log p(x_m | c) in a numbering of its own. `numbering[m]` holds, for each class of
the common numbering, the expert's own number of it.

    p(c | x_1 ... x_M)  ~  prod_m p(x_m | c)

Reference: Hinton, "Training products of experts by minimizing contrastive divergence", Neural
Computation 14(8), 2002; the matching is the assignment problem of Kuhn, "The Hungarian method",
1955.
"""

import numpy as np
from scipy.optimize import linear_sum_assignment

NUM_PASSES = 10  # of the matching; it usually settles in two or three
GAIN = 0.01  # of the samples that a new matching must agree on more, to replace the old one


def match_classes(log_evidence, seen, numbering=None):
    """A common numbering of the experts' classes.

    Each expert is matched to the product of the others by optimal assignment on how often their
    classes go together, until nothing changes.

    Args:
        log_evidence: Array (M, N, K), log p(x | class) of each expert up to a constant per row.
        seen: Boolean array (M, N): which samples each expert has something to say about.
        numbering: Integers (M, K) to start from, which are kept unless another matching agrees
            on clearly more samples. None starts from the first expert's classes.

    Returns:
        Integers (M, K).
    """
    probs = _normalized(log_evidence) * seen[..., None]
    found = np.tile(np.arange(probs.shape[2]), (len(probs), 1)) if numbering is None else numbering
    found = found.copy()
    if numbering is None:  # one after the other: each is matched to those before it
        for m in range(1, len(probs)):
            reference = _reference(log_evidence[:m], seen[:m], found[:m])
            found[m] = _assignment(reference.T @ probs[m])
    for _ in range(NUM_PASSES):
        before = found.copy()
        for m in range(len(probs)):
            others = np.arange(len(probs)) != m
            reference = _reference(log_evidence[others], seen[others], found[others])
            together = reference.T @ probs[m]
            best = _assignment(together)
            classes = np.arange(len(best))
            gain = together[classes, best].sum() - together[classes, found[m]].sum()
            if gain > GAIN * together.sum():
                found[m] = best
        if (found == before).all():
            break
    return found


def match_signs(signs, log_evidence):
    """Which of its own classes an expert means by each sign that exists already.

    Args:
        signs: Integers (N,), below 0 where there is none.
        log_evidence: Array (N, K), rows of zeros where the expert has not seen the sample.

    Returns:
        Integers (K,), the expert's row of `numbering`.
    """
    num_classes = log_evidence.shape[1]
    named = signs >= 0
    together = np.eye(num_classes)[signs[named]].T @ _normalized(log_evidence[named])
    return _assignment(together)


def conclude(evidence, log_prior=None):
    """Logarithms of the product of experts and of what each hears, not normalized.

    Args:
        evidence: M arrays or tensors (N, K) in the common numbering.
        log_prior: What came from above, (N, K), or None.

    Returns:
        The experts' product (N, K), the posterior (N, K), and a list of M (N, K): what all other
        experts and the prior say.
    """
    above = 0.0 if log_prior is None else log_prior
    total = sum(evidence[1:], start=evidence[0])
    return total, total + above, [total - part + above for part in evidence]


def numbered_alike(log_evidence, numbering):
    """Evidence (M, N, K) with each expert's columns in the common numbering.

    Args:
        log_evidence: Array (M, N, K) in each expert's own numbering.
        numbering: Integers (M, K).
    """
    return np.stack([part[:, order] for part, order in zip(log_evidence, numbering, strict=True)])


def own_numbering(rows, order):
    """Rows (N, K) of the common numbering in an expert's own.

    Args:
        rows: Array (N, K).
        order: Integers (K,), the expert's row of `numbering`.
    """
    return rows[:, np.argsort(order)]


def _reference(log_evidence, seen, numbering):
    """The normalized product (N, K) of some experts; zero where none of them has seen anything."""
    spoken = np.where(seen[..., None], numbered_alike(log_evidence, numbering), 0.0)
    return _normalized(spoken.sum(axis=0)) * seen.any(axis=0)[:, None]


def _normalized(log_probs):
    probs = np.exp(log_probs - log_probs.max(axis=-1, keepdims=True))
    return probs / probs.sum(axis=-1, keepdims=True)


def _assignment(together):
    """For each row of counts (K, K) the column of the best one-to-one matching."""
    return linear_sum_assignment(together, maximize=True)[1]
