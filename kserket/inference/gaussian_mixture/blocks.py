"""Data of a mixture in blocks: ready for the E and M step, a cache's worth at a time."""

from typing import NamedTuple

import numpy as np

from kserket import storage
from kserket.inference import quadratic_form
from kserket.inference.gaussian_mixture import gaps
from kserket.inference.gaussian_mixture.parameters import mean_weights

BLOCK_MEMORY = 512 * 2**20


class Block(NamedTuple):
    """C data made ready for the E and M step."""

    data: object  # what the quadratic form makes of them
    log_prior: np.ndarray | None  # (K, C)
    weight: np.ndarray | None  # (C,), 0 where missing
    missing: np.ndarray | None  # (C,) bool
    size: int
    total_weight: float
    gaps: gaps.Gaps | None  # rows of which some cells were not observed; 0 in `data`


class Blocks:
    """The data of a fit, in blocks that are kept where they fit into memory, else recomputed.

    Args:
        prior: `Prior` whose mean is the origin.
        x: (N, D), sliced only; NaN in cells that were not observed.
        variance: (N, D) or None.
        log_prior: (N, K) log class probabilities or None.
        sample_weight: (N,) or None.
        chunk_size: Rows of a block, or None.
        memory: How many bytes the kept blocks may take.
    """

    def __init__(
        self,
        prior,
        x,
        variance=None,
        log_prior=None,
        sample_weight=None,
        chunk_size=None,
        memory=BLOCK_MEMORY,
    ):
        self.prior, self.x = prior, _sliceable(x)
        self.variance, self.log_prior = _sliceable(variance), _sliceable(log_prior)
        self.sample_weight = None if sample_weight is None else np.asarray(sample_weight)
        self.form = quadratic_form.for_num_features(len(prior.mean))
        if chunk_size is None:  # blocks of the same size
            num_blocks = max(1, -(-len(x) // self.form.chunk_size))
            chunk_size = max(1, -(-len(x) // num_blocks))
        self.chunk_size = chunk_size
        self.memory = memory
        self.kept = self.filled = None
        self.buffers = {}
        self._check()

    def blocks(self):
        """Pairs of the rows (a slice) and their `Block`, which the next one overwrites."""
        if self.kept is None and 8 * self.form.width * len(self.x) <= self.memory:
            self.kept = list(self._make_blocks())
        if self.kept is not None:
            return self.kept
        return self._make_blocks(self.form.memory(min(self.chunk_size, len(self.x))))

    def buffer(self, num_components, block):
        """Memory (K, C) for a block's responsibilities, the same one for all of this size."""
        shape = (num_components, block.size)
        if shape not in self.buffers:
            self.buffers[shape] = np.empty(shape)
        return self.buffers[shape]

    def sample(self, num_samples, rng, information=None):
        """At most so many of the data.

        Where `information` (N,) gives how much the class prior says of each, rows of which it says
        something come first.
        """
        parts = [self.x, self.variance, self.log_prior]
        weight = self.sample_weight
        if len(self.x) > num_samples:
            if information is None:
                chosen = rng.choice(len(self.x), num_samples, replace=False)
            else:
                rank = rng.random(len(self.x)) - (information > 0.0)
                chosen = np.argpartition(rank, num_samples)[:num_samples]
            chosen = np.sort(chosen)
            parts = [None if part is None else take_rows(part, chosen) for part in parts]
            weight = None if weight is None else weight[chosen]
        return Blocks(self.prior, *parts, weight)

    @property
    def arrays(self):
        """x, variance and log_prior."""
        return self.x, self.variance, self.log_prior

    @property
    def has_gaps(self):
        """Whether some cells were not observed."""
        return any(block.gaps is not None for _, block in self.blocks())

    @property
    def total_weight(self):
        """The weight of all data that say something."""
        return sum(block.total_weight for _, block in self.blocks())

    def _make_blocks(self, memory=None):
        for start in range(0, len(self.x), self.chunk_size):
            rows = slice(start, min(start + self.chunk_size, len(self.x)))
            yield (
                rows,
                make_block(
                    self.form,
                    self.prior.mean,
                    *(storage.read(part, rows) for part in (self.x, self.variance)),
                    *(storage.read(part, rows) for part in (self.log_prior, self.sample_weight)),
                    memory,
                ),
            )

    def _check(self):
        num_samples, num_features = len(self.x), len(self.prior.mean)
        shape = (num_samples, num_features)
        expected = {"x": (self.x, shape), "variance": (self.variance, shape)}
        expected["sample_weight"] = (self.sample_weight, (num_samples,))
        if self.log_prior is not None:
            num_components = self.log_prior.shape[-1]
            expected["log_prior"] = (self.log_prior, (num_samples, num_components))
        for name, (value, shape) in expected.items():
            if value is not None and tuple(value.shape) != shape:
                raise ValueError(
                    f"`{name}` must have the shape {shape}: {num_samples} samples, and a prior "
                    f"over {num_features} features. Received: {name} of shape {tuple(value.shape)}"
                )


class Prediction:
    """Expected log densities of new data under a state, block by block."""

    def __init__(self, state, variance, chunk_size):
        self.variance, self.state = variance, state
        self.origin = mean_weights(state) @ state.mean
        self.form = quadratic_form.for_num_features(state.mean.shape[1])
        self.chunk_size = chunk_size or self.form.chunk_size
        self.terms = self.form.terms(state.normal_wishart, self.origin)

    def blocks(self, x, log_prior=None):
        for start in range(0, len(x), self.chunk_size):
            rows = slice(start, start + self.chunk_size)
            yield (
                rows,
                make_block(
                    self.form,
                    self.origin,
                    *(storage.read(part, rows) for part in (x, self.variance, log_prior)),
                    None,
                ),
            )

    def log_density(self, block):
        density = self.form.log_density(self.terms, block.data)
        if block.missing is not None:
            density[:, block.missing] = 0.0
        if block.gaps is not None:
            for rows, features, places in block.gaps.by_pattern():
                density[:, places] = self._marginal_density(block.gaps, rows, features)
        return density

    def _marginal_density(self, gaps_, rows, features):
        """What the features that were seen say of some rows of `Gaps`, (K, G)."""
        origin = self.origin[features]
        form = quadratic_form.for_num_features(len(features))
        belief = gaps.marginal(self.state.normal_wishart, features)
        deviations = np.ascontiguousarray(gaps_.deviations[rows][:, features])
        variance = None if gaps_.variance is None else gaps_.variance[rows][:, features]
        return form.log_density(form.terms(belief, origin), form.block(deviations, variance))


def make_block(form, origin, x, variance, log_prior, sample_weight, memory=None):
    """A `Block` of C rows: x (C, D), variance, log_prior (C, K), sample_weight (C,) or None."""
    deviations = np.asarray(x, np.float64) - origin
    missing = None
    if variance is not None:
        variance = np.asarray(variance, np.float64)
        unknown = np.isinf(variance).any(axis=1)
        if unknown.any():
            missing = unknown
            deviations[missing] = 0.0
            variance = np.where(missing[:, None], 0.0, variance)
    rows_with_gaps = gaps.of_block(deviations, variance)
    if rows_with_gaps is not None:
        deviations[rows_with_gaps.rows] = 0.0
        if variance is not None:
            variance = variance.copy()
            variance[rows_with_gaps.rows] = 0.0
    if log_prior is not None:
        log_prior = np.ascontiguousarray(np.asarray(log_prior, np.float64).T)
    weight = None if sample_weight is None else np.array(sample_weight, np.float64)
    if missing is not None:
        weight = (~missing).astype(np.float64) if weight is None else weight * ~missing
    size = len(deviations)
    total_weight = float(size if weight is None else weight.sum())
    data = form.block(deviations, variance, memory)
    return Block(data, log_prior, weight, missing, size, total_weight, rows_with_gaps)


def _sliceable(x):
    """The data themselves if they have a shape, wherever they live, else as an array."""
    return x if x is None or hasattr(x, "shape") else np.asarray(x)


def take_rows(x, rows):
    """The given rows (ascending), (len(rows), D) float64, of anything that can be sliced."""
    if isinstance(x, np.ndarray):
        return storage.gather(x, rows, np.float64)
    return np.concatenate([np.asarray(x[row : row + 1], np.float64) for row in rows])
