"""Greedy merging of groups while the evidence of their partition grows, from sums alone."""

import numpy as np


def agglomerate(sums, log_evidence):
    """Merges the two groups whose union gains most, until no union gains anything.

    Sums of a union are those of its parts added up, so that no merge needs the data again.

    Args:
        sums: Tuple of arrays (G, ...): sums over the members of each of G groups.
        log_evidence: Called with such a tuple of n groups; returns (n,), what each adds to the log
            probability of partition and data.

    Returns:
        Integers (G,), the class that each group is in, numbered from 0.

    Reference:
        K. A. Heller and Z. Ghahramani, Bayesian hierarchical clustering, ICML 2005.
    """
    sums = tuple(np.array(part, np.float64) for part in sums)
    num_groups = len(sums[0])
    alone = log_evidence(sums)
    gains = np.full((num_groups, num_groups), -np.inf)  # of unions of i and j, i < j
    alive, classes = np.arange(num_groups), np.arange(num_groups)

    def compare(group, others):
        if len(others):
            union = log_evidence(tuple(part[group] + part[others] for part in sums))
            first, second = np.minimum(group, others), np.maximum(group, others)
            gains[first, second] = union - alone[group] - alone[others]

    for group in range(1, num_groups):
        compare(group, alive[:group])
    while len(alive) > 1:
        kept, gone = np.unravel_index(gains.argmax(), gains.shape)
        if not gains[kept, gone] > 0.0:
            break
        for part in sums:
            part[kept] += part[gone]
        alone[kept : kept + 1] = log_evidence(tuple(part[kept : kept + 1] for part in sums))
        classes[classes == gone] = kept
        gains[gone], gains[:, gone] = -np.inf, -np.inf
        alive = alive[alive != gone]
        compare(kept, alive[alive != kept])
    return np.unique(classes, return_inverse=True)[1]
