"""Time of one sweep of the Gaussian mixture beside what it cannot avoid, and beside scikit-learn.

    python benchmarks/gmm_speed.py
    python benchmarks/gmm_speed.py --samples 3000 30000 300000 3000000

One line for every combination of `--samples`, `--components` and `--features`. The floor of a
variational sweep is two matrix products over the quadratic features of the data
(1 + D + D (D + 1) / 2 of them), E step and M step, in float64, in the same process and with the
same threads. scikit-learn's `BayesianGaussianMixture` runs on the same data: full covariances,
the same K. Times of a sweep are differences of a long and a short run, so that starts do not
count. The exact collapsed Gibbs sweep is given in milliseconds and beside the variational one.
"""

import argparse
import itertools
import os
import time
import warnings

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy: threads pinned alike for all

import numpy as np  # noqa: E402

from kserket.inference import gaussian_gibbs, gaussian_mixture  # noqa: E402


def seconds(run):
    """CPU seconds of one call."""
    begin = time.process_time()
    run()
    return time.process_time() - begin


def products(size, components, features):
    """The two products of one sweep, in blocks as large as caches like them."""
    quadratic = 1 + features + features * (features + 1) // 2
    block = np.random.default_rng(0).random((quadratic, min(size, 4096)))
    coefficients = np.random.default_rng(1).random((components, quadratic))
    blocks = max(10, size // block.shape[1])

    def run():
        for _ in range(blocks):
            responsibilities = coefficients @ block
            responsibilities @ block.T

    run()
    return seconds(run) * size / (blocks * block.shape[1])


def variational(x, prior, components, sweeps):
    """A sweep of `inference.gaussian_mixture.fit`."""
    state, _, _ = gaussian_mixture.fit(
        x, prior, num_components=components, n_init=1, num_sweeps=1, rng=0
    )

    def run(count):
        gaussian_mixture.fit(x, prior, state, num_sweeps=count, tolerance=None)

    run(1)
    return (seconds(lambda: run(1 + sweeps)) - seconds(lambda: run(1))) / sweeps


def scikit_learn(x, components, sweeps):
    """An iteration of scikit-learn's variational mixture."""
    from sklearn.mixture import BayesianGaussianMixture

    def run(count):
        BayesianGaussianMixture(
            n_components=components,
            weight_concentration_prior_type="dirichlet_distribution",
            init_params="random_from_data",
            max_iter=count,
            tol=0.0,
            random_state=0,
        ).fit(x)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return (seconds(lambda: run(1 + sweeps)) - seconds(lambda: run(1))) / sweeps


def gibbs(x, prior, components, sweeps):
    """A sweep of the collapsed sampler, after compilation."""
    chain, _ = gaussian_gibbs.sample(x, prior, 2, rng=0, num_components=components)

    def run(count):
        gaussian_gibbs.sample(
            x, prior, count, rng=0, num_components=components, assignments=chain.assignments
        )

    return (seconds(lambda: run(1 + sweeps)) - seconds(lambda: run(1))) / sweeps


def ratios(size, components, features):
    """Seconds of the floor, and kserket's and scikit-learn's sweeps as multiples of it."""
    x = np.random.default_rng(0).standard_normal((size, features))
    prior = gaussian_mixture.default_prior(x.mean(axis=0), x.var(axis=0), components)
    sweeps = max(2, min(20, 100_000 // size))
    floor = products(size, components, features)
    ours = variational(x, prior, components, sweeps)
    return floor, ours / floor, scikit_learn(x, components, sweeps) / floor


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, nargs="+", default=[3_000, 30_000])
    parser.add_argument("--components", type=int, nargs="+", default=[10, 100])
    parser.add_argument("--features", type=int, nargs="+", default=[18, 64])
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args(argv)
    print(f"{os.environ['OMP_NUM_THREADS']} thread(s), medians of {arguments.repeats}")
    print(f"{'N':>8}{'K':>5}{'D':>4}{'floor ms':>10}{'x floor':>9}{'sklearn x floor':>17}")
    for sizes in itertools.product(arguments.samples, arguments.components, arguments.features):
        floor, ours, theirs = np.median([ratios(*sizes) for _ in range(arguments.repeats)], axis=0)
        size, components, features = sizes
        print(
            f"{size:>8}{components:>5}{features:>4}{1e3 * floor:>10.2f}{ours:>9.2f}{theirs:>17.2f}",
            flush=True,
        )
    x = np.random.default_rng(0).standard_normal((3_000, 18))
    prior = gaussian_mixture.default_prior(x.mean(axis=0), x.var(axis=0), 10)
    sweeps = [
        (gibbs(x, prior, 10, 20), variational(x, prior, 10, 20)) for _ in range(arguments.repeats)
    ]
    sampler, sweep = np.median(sweeps, axis=0)
    ratio = sampler / sweep
    print(f"collapsed Gibbs, 3000 x 18, K = 10: {1e3 * sampler:.1f} ms, {ratio:.1f} x variational")


if __name__ == "__main__":
    main()
