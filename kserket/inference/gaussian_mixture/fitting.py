"""Sweeps until the bound has settled."""

import numpy as np

from kserket.inference.gaussian_mixture.blocks import Blocks
from kserket.inference.gaussian_mixture.data import check_num_components
from kserket.inference.gaussian_mixture.starts import start
from kserket.inference.gaussian_mixture.sweep import climb


def fit(
    x,
    prior,
    state=None,
    variance=None,
    log_prior=None,
    sample_weight=None,
    num_sweeps=100,
    n_init=None,
    tolerance=1e-6,
    rng=None,
    callback=None,
    num_components=None,
    chunk_size=None,
):
    """Sweeps until the bound has settled, from a given state or from the best of several starts.

    `start` tells how starts are made and compared; the best goes on.

    Args:
        x: (N, D) data, or the means of Gaussian data; anything with a length and slices.
        prior: `Prior`.
        state: `State` to go on from, or None for a cold start.
        variance: (N, D) or None. Rows that hold an infinite variance say nothing.
        log_prior: (N, K) log class probabilities used instead of the mixing weights, or
            None.
        sample_weight: (N,) or None: how often each datum counts.
        num_sweeps: How many sweeps to do at most, beside those of the starts.
        n_init: How many cold starts to compare; None as in `start`.
        tolerance: Stop when a sweep raises the bound by less than this, in nats for each datum;
            None never stops early.
        rng: `numpy.random.Generator`, or a seed.
        callback: Called after each sweep as `callback(sweep, num_sweeps, bound, state)`, counted
            from 1. `StopIteration` ends the fit with what is reached; other exceptions pass.
        num_components: K, needed where neither `state` nor `log_prior` tells it.
        chunk_size: How many rows to work on at a time.

    Returns:
        `State`; (sweeps,) bounds, each of the state that the sweep started from; (n_init,) bounds
        of the starts, empty where none were compared.

    Raises:
        ValueError: If shapes do not agree, or K is not known.
    """
    rng = np.random.default_rng(rng)
    num_components = check_num_components(num_components, state, log_prior)
    data = Blocks(prior, x, variance, log_prior, sample_weight, chunk_size)
    start_bounds = np.empty(0)
    if state is None:
        found = start(
            x,
            prior,
            num_components,
            variance,
            log_prior,
            sample_weight,
            n_init,
            rng,
            chunk_size,
            learn_prior=False,
        )
        state, start_bounds = found.state, found.bounds
    state, bounds = climb(data, prior, state, num_sweeps, tolerance, callback)
    return state, bounds, start_bounds
