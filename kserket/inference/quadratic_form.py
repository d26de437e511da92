"""Expected Gaussian log densities and second moments of blocks of data, for a stack of components.

Both steps of a Gaussian mixture need quadratic forms of every datum with every component. Two ways
to them, with the same methods: one matrix product over all quadratic features of the block
(`FeatureProducts`, while D is moderate), or a triangular solve and a symmetric product for each
component (`TriangularSolves`). Blocks hold samples along the last axis, so that what follows
(maxima, sums, exponentials over components) runs along contiguous memory.
"""

from typing import NamedTuple

import numpy as np

from kserket.inference import normal_wishart as nw

MAX_FEATURES_OF_PRODUCTS = 150


def for_num_features(num_features):
    """The faster of the two ways for data of D features."""
    if num_features <= MAX_FEATURES_OF_PRODUCTS:
        return FeatureProducts(num_features)
    return TriangularSolves(num_features)


class PriorTerms(NamedTuple):
    """A prior over components with what costs something to compute of it."""

    belief: nw.NormalWishart  # stack of one
    log_normalizer: np.ndarray  # (1,)


def prior_terms(belief):
    """`PriorTerms` of a `NormalWishart` stack of one."""
    return PriorTerms(belief, nw.log_normalizer(belief))


class Terms(NamedTuple):
    """What a belief about the components contributes to a sweep, computed once before it."""

    divergence: np.ndarray | None  # (K,), KL(belief || prior), where a prior was given
    mean_distance: np.ndarray  # (K,), (m - origin)' E[Lambda] (m - origin)
    parts: tuple  # what `log_density` needs beside, depending on the way


class FeatureProducts:
    """Blocks (F, C) of the features 1, y_i, y_i y_j (i <= j) of C data; F = 1 + D + D (D + 1) / 2.

    Args:
        num_features: D.
    """

    def __init__(self, num_features):
        self.num_features = num_features
        self.upper = np.triu_indices(num_features)
        self.flat_upper = np.ravel_multi_index(self.upper, (num_features, num_features))
        place = np.empty((num_features, num_features), int)
        place[self.upper] = place[self.upper[::-1]] = np.arange(len(self.flat_upper))
        self.place = place.ravel()
        # log N holds -1/2 y' Lambda y: each product of two different features occurs twice.
        self.multiplicity = np.where(self.upper[0] == self.upper[1], -0.5, -1.0)
        self.width = 1 + num_features + len(self.flat_upper)

    @property
    def chunk_size(self):
        """How many data a block holds at most: few enough for the processor's outer cache."""
        return max(256, min(4096, 600_000 // self.width))

    def memory(self, chunk_size):
        """Room for one block after another, where blocks are not kept."""
        return np.empty((self.width, chunk_size))

    def block(self, deviations, variance=None, memory=None):
        """The features (F, C) of deviations (C, D) from the origin; E[yy'] holds the variance."""
        num_features = self.num_features
        if memory is None:
            memory = self.memory(len(deviations))
        features = memory[:, : len(deviations)]
        features[0] = 1.0
        y = features[1 : 1 + num_features]
        y[...] = deviations.T
        start = 1 + num_features
        for i in range(num_features):
            stop = start + num_features - i
            np.multiply(y[i], y[i:], out=features[start:stop])
            if variance is not None:
                features[start] += variance[:, i]
            start = stop
        return features

    def terms(self, belief, origin, prior=None):
        """`Terms` of a `NormalWishart` stack of K, for `log_density`.

        Args:
            belief: `NormalWishart` stack of K.
            origin: (D,) what the blocks' data deviate from.
            prior: `PriorTerms` around the origin, for `Terms.divergence`, or None.
        """
        factors = nw.cholesky(belief.scatter)
        upper = nw.invert_upper(factors)
        freedom = belief.degrees_of_freedom[:, None]
        shift = belief.mean - origin
        coefficients = np.empty((len(shift), self.width))
        linear = coefficients[:, 1 : 1 + self.num_features]
        quadratic = coefficients[:, 1 + self.num_features :]
        np.multiply(upper.reshape(len(shift), -1)[:, self.flat_upper], freedom, out=quadratic)
        # The product with the whole symmetric matrix, from its upper triangle.
        column = shift[:, :, None]
        products = (upper @ column + upper.swapaxes(1, 2) @ column)[:, :, 0]
        products -= np.diagonal(upper, axis1=1, axis2=2) * shift
        np.multiply(products, freedom, out=linear)
        quadratic *= self.multiplicity
        mean_distance = (linear * shift).sum(axis=1)
        trace = None
        if prior is not None:
            trace = -2.0 * (quadratic @ prior.belief.scatter[0][self.upper])
        constant, divergence = _constants(belief, factors, prior, trace, mean_distance)
        np.subtract(constant, 0.5 * mean_distance, out=coefficients[:, 0])
        return Terms(divergence, mean_distance, (coefficients,))

    def log_density(self, terms, block, out=None):
        """E[log N(y_n; mu_k, Lambda_k^-1)] of a block, (K, C)."""
        return np.matmul(terms.parts[0], block, out=out)

    def total_precision(self, terms):
        """The sum of E[Lambda_k] over components, (D, D)."""
        (coefficients,) = terms.parts
        upper = coefficients[:, 1 + self.num_features :].sum(axis=0)
        upper /= self.multiplicity
        return upper[self.place].reshape(self.num_features, self.num_features)

    def no_moments(self, num_components):
        """An empty sum of moments, for `add_moments`."""
        return np.zeros((num_components, self.width))

    def add_moments(self, moments, responsibilities, block):
        """Add a block's moments under weights (K, C) to a sum of moments, in place."""
        moments += responsibilities @ block.T

    def unpack(self, moments):
        """Counts (K,), sums (K, D) and scatters (K, D, D) from a sum of moments."""
        num_features = self.num_features
        scatters = moments[:, 1 + num_features :][:, self.place]
        return (
            moments[:, 0].copy(),
            moments[:, 1 : 1 + num_features].copy(),
            scatters.reshape(len(moments), num_features, num_features),
        )


class TriangularSolves:
    """Blocks are pairs of deviations (D, C) and variance (D, C) or None.

    Args:
        num_features: D.
    """

    def __init__(self, num_features):
        self.num_features = num_features
        self.width = 2 * num_features

    @property
    def chunk_size(self):
        """How many data a block holds at most."""
        return 2048

    def memory(self, chunk_size):
        """Nothing: these blocks are small."""

    def block(self, deviations, variance=None, memory=None):
        """Deviations (C, D) from the origin and their variance, samples along the last axis."""
        deviations = np.asfortranarray(deviations.T)
        return deviations, None if variance is None else np.ascontiguousarray(variance.T)

    def terms(self, belief, origin, prior=None):
        """`Terms` of a `NormalWishart` stack of K, for `log_density`.

        Args:
            belief: `NormalWishart` stack of K.
            origin: (D,) what the blocks' data deviate from.
            prior: `PriorTerms` around the origin, for `Terms.divergence`, or None.
        """
        from scipy.linalg.lapack import dtrtri

        factors = nw.cholesky(belief.scatter)
        freedom = belief.degrees_of_freedom
        shift = belief.mean - origin
        diagonal, trace, mean_distance = np.empty_like(shift), None, np.empty(len(shift))
        correlated, total = False, None
        if prior is not None:
            trace = np.empty(len(shift))
            prior_scatter = prior.belief.scatter[0]
            prior_diagonal = np.diagonal(prior_scatter)
            correlated = np.any(prior_scatter != np.diag(prior_diagonal))
            total = np.zeros_like(prior_scatter) if correlated else None
        roots = []
        for k, factor in enumerate(factors):
            # A C-ordered lower factor L is, read in Fortran's order, L': this is L'^-1.
            root = dtrtri(factor.T, lower=0)[0]
            roots.append(root)
            diagonal[k] = freedom[k] * np.einsum("ij,ij->i", root, root)
            mean_distance[k] = freedom[k] * np.square(shift[k] @ root).sum()
            if correlated:
                precision = freedom[k] * root @ root.T
                trace[k] = np.vdot(prior_scatter, precision)
                total += precision
            elif prior is not None:
                trace[k] = prior_diagonal @ diagonal[k]
        constant, divergence = _constants(belief, factors, prior, trace, mean_distance)
        parts = (constant, roots, shift, freedom, diagonal, total)
        return Terms(divergence, mean_distance, parts)

    def log_density(self, terms, block, out=None):
        """E[log N(y_n; mu_k, Lambda_k^-1)] of a block, (K, C)."""
        from scipy.linalg.blas import dtrmm

        constant, roots, shift, freedom, diagonal, _ = terms.parts
        deviations, variance = block
        density = np.empty((len(shift), deviations.shape[1])) if out is None else out
        for k, root in enumerate(roots):
            centered = np.subtract(deviations, shift[k][:, None], order="F")
            solved = dtrmm(1.0, root, centered, trans_a=1, overwrite_b=1)
            np.einsum("dn,dn->n", solved, solved, out=density[k])
        density *= -0.5 * freedom[:, None]
        density += constant[:, None]
        if variance is not None:
            density -= 0.5 * (diagonal @ variance)
        return density

    def total_precision(self, terms):
        """The sum of E[Lambda_k] over components, (D, D)."""
        _, roots, _, freedom, _, total = terms.parts
        if total is not None:
            return total
        return sum(nu * root @ root.T for nu, root in zip(freedom, roots, strict=True))

    def no_moments(self, num_components):
        """An empty sum of moments, for `add_moments`."""
        num_features = self.num_features
        return (
            np.zeros(num_components),
            np.zeros((num_components, num_features)),
            np.zeros((num_components, num_features, num_features)),
        )

    def add_moments(self, moments, responsibilities, block):
        """Add a block's moments under weights (K, C) to a sum of moments, in place."""
        from scipy.linalg.blas import dsyrk

        counts, sums, scatters = moments
        deviations, variance = block
        counts += responsibilities.sum(axis=1)
        sums += responsibilities @ deviations.T
        for k, weights in enumerate(responsibilities):
            members = np.flatnonzero(weights)  # few: most data lie far away
            if len(members):
                scaled = np.asfortranarray(deviations[:, members] * np.sqrt(weights[members]))
                dsyrk(1.0, scaled, beta=1.0, c=scatters[k].T, overwrite_c=1)
        if variance is not None:
            diagonal = np.arange(self.num_features)
            scatters[:, diagonal, diagonal] += responsibilities @ variance.T

    def unpack(self, moments):
        """Counts (K,), sums (K, D) and scatters (K, D, D) from a sum of moments."""
        counts, sums, scatters = moments
        for scatter in scatters:
            upper = np.triu_indices(self.num_features, 1)
            scatter[upper] = scatter.T[upper]
        return counts, sums, scatters


def _constants(belief, factors, prior, trace, mean_distance):
    """E[log N] at the mean of each component (K,), and KL(belief || prior) (K,) or None."""
    num_features = belief.mean.shape[1]
    scatter_log_det = nw.log_det(factors)
    expected = nw.expected_log_det(belief, scatter_log_det)
    constant = 0.5 * (expected - num_features * (nw.LOG_2PI + 1.0 / belief.mean_precision))
    if prior is None:
        return constant, None
    divergence = nw.kl_divergence_from_moments(
        belief,
        prior.belief,
        scatter_log_det,
        expected,
        trace,
        mean_distance,
        prior.log_normalizer,
    )
    return constant, divergence
