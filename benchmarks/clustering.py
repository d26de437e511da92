"""Accuracy of VAE+GMM over seeds, beside what a user would take instead.

    python benchmarks/clustering.py digits
    python benchmarks/clustering.py tutorial --path serket_tutorial.npz
    python benchmarks/clustering.py mnist --path mnist.npz --hidden 300 --itr 40 10 \\
        --init umap --sweeps 1

Prints clustering accuracy, NMI and ARI, mean and population standard deviation over seeds, of
k-means, spectral clustering and mixtures of scikit-learn, of UMAP and a mixture, of a mixture
without a VAE, and of VAE+GMM by rounds, with messages and without; before any message, in round 1,
it is a plain VAE and a mixture after it. With --members several VAEs, each under a mixture, are
joined by an MLDA that tells each mixture what the others say. Wine and breast cancer are tables:
standardised, and sorted by a mixture alone. Labels score and decide nothing.
"""

import argparse
import importlib.util
import os
import time

import numpy as np

import kserket as srk
from kserket import gmm, metrics, mlda, vae

SCORES = ("accuracy", "nmi", "ari")
LARGE = 10_000  # samples from which slow peers are left out


def load(name, path):
    """Data (N, D) and labels (N,), and the same of held-out samples or None."""
    if name == "digits":
        return *srk.datasets.load_digits(), None
    if name == "tutorial":
        images, _, labels = srk.datasets.load_serket_tutorial(path)
        return images, labels, None
    if name == "mnist":
        (x, labels), held_out = srk.datasets.load_mnist(path)
        return x, labels, held_out
    from sklearn import datasets
    from sklearn.preprocessing import StandardScaler

    x, labels = getattr(datasets, f"load_{name}")(return_X_y=True)
    return StandardScaler().fit_transform(x), labels, None


def peers(x, num_classes, seed):
    """What scikit-learn offers, and mixtures of ours without a VAE: name -> labels."""
    from sklearn.cluster import KMeans, SpectralClustering
    from sklearn.decomposition import PCA
    from sklearn.mixture import BayesianGaussianMixture
    from sklearn.mixture import GaussianMixture as EMMixture

    size = min(18, x.shape[1])
    reduced = PCA(size, random_state=seed).fit_transform(x)
    options = {"random_state": seed, "n_init": 10}
    yield "KMeans", KMeans(num_classes, **options).fit_predict(x)
    if len(x) < LARGE:
        spectral = SpectralClustering(num_classes, affinity="nearest_neighbors", random_state=seed)
        yield "SpectralClustering", spectral.fit_predict(x)
        yield "GaussianMixture", EMMixture(num_classes, **options).fit_predict(x)
        bayesian = BayesianGaussianMixture(n_components=num_classes, max_iter=500, **options)
        yield "BayesianGaussianMixture", bayesian.fit_predict(x)
    if size < x.shape[1]:
        yield (
            f"PCA({size}) + GaussianMixture",
            EMMixture(num_classes, **options).fit_predict(reduced),
        )
        bayesian = BayesianGaussianMixture(n_components=num_classes, max_iter=500, **options)
        yield f"PCA({size}) + BayesianGaussianMixture", bayesian.fit_predict(reduced)
        yield f"PCA({size}) + kserket.GaussianMixture", ours(reduced, num_classes, seed)
    if importlib.util.find_spec("umap"):
        import umap

        embed = umap.UMAP(n_components=10, n_neighbors=10, min_dist=0.0, random_state=seed)
        embedded = embed.fit_transform(x)
        yield "UMAP(10) + GaussianMixture", EMMixture(num_classes, **options).fit_predict(embedded)
    if x.shape[1] < 50:
        yield "kserket.GaussianMixture", ours(x, num_classes, seed)


def ours(x, num_classes, seed):
    """Classes by the library's mixture."""
    model = srk.GaussianMixture(num_classes, seed=seed)
    model.fit(x, verbose=0)
    return model.predict(x).argmax(axis=1)


def run(data, arguments, seed, backward):
    """VAE+GMM, or several of them under an MLDA: scores by round, and of held-out samples."""
    (x, labels, held_out), num_classes = data, arguments.num_classes
    srk.Module.reset_names()
    obs = srk.Observation(x)
    mixtures = []
    for member in range(arguments.members):
        suffix = str(member) if arguments.members > 1 else ""
        vae1 = vae.VAE(
            arguments.latent,
            itr=arguments.itr[0],
            batch_size=arguments.batch_size,
            hidden_encoder_dim=arguments.hidden,
            hidden_decoder_dim=arguments.hidden,
            KL_param=arguments.alpha,
            name=f"vae{suffix}",
            save_dir=None,
        )
        mixture = gmm.GMM(
            num_classes,
            arguments.sweeps,
            name=f"gmm{suffix}",
            init=arguments.init,
            save_dir=None,
        )
        vae1.connect(obs)
        mixture.connect(vae1, backward=backward)
        mixtures.append((vae1, mixture))
    top = mixtures[0][1]
    if arguments.members > 1:
        top = mlda.MLDA(num_classes, save_dir=None)
        top.connect(*(mixture for _, mixture in mixtures), backward=backward)
    graph = srk.Graph(top, seed=seed)
    rounds, begin = [], time.process_time()
    for _ in range(arguments.rounds):
        graph.fit(1, verbose=0)
        rounds.append(score(labels, top.posterior.argmax(axis=1)))
        for vae1, _ in mixtures:
            vae1.itr = arguments.itr[-1]
    seconds = time.process_time() - begin
    print(
        f"seed {seed}, {'with' if backward else 'no'} messages:",
        np.round(np.array(rounds)[:, 0], 3),
        f"{seconds:.0f} CPU s",
        flush=True,
    )
    if held_out is None:
        return rounds, None, seconds
    found = graph.predict(held_out[0], batch_size=2000).argmax(axis=1)
    return rounds, score(held_out[1], found), seconds


def score(labels, classes):
    """Accuracy, NMI, ARI."""
    scores = metrics.clustering_scores(labels, classes)
    return [scores[name] for name in SCORES]


def show(name, scores):
    """One row of the table, from the scores (seeds, 3) of one method."""
    mean, sd = np.mean(scores, axis=0), np.std(scores, axis=0)
    cells = " | ".join(f"{m:.3f} ± {s:.3f}" for m, s in zip(mean, sd, strict=True))
    print(f"| {name} | {cells} |", flush=True)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "data",
        nargs="?",
        default="digits",
        choices=["digits", "tutorial", "mnist", "wine", "breast_cancer"],
    )
    parser.add_argument("--path", default=os.environ.get("KSERKET_TUTORIAL"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--latent", type=int, default=18)
    parser.add_argument("--hidden", type=int, default=100)
    parser.add_argument(
        "--itr", type=int, nargs="+", default=[200], help="epochs of the first round, and of others"
    )
    parser.add_argument("--batch-size", type=int, default=500)
    parser.add_argument("--alpha", type=float, default=1.0)
    parser.add_argument("--init", default="kmeans", choices=["kmeans", "umap"])
    parser.add_argument("--sweeps", type=int, default=100, help="sweeps of the mixture in a round")
    parser.add_argument("--members", type=int, default=1, help="how many VAEs, joined by an MLDA")
    parser.add_argument("--deskew", action="store_true", help="make slanted images upright first")
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--no-control", action="store_true", help="no runs without messages")
    arguments = parser.parse_args(argv)
    x, labels, held_out = load(arguments.data, arguments.path)
    if arguments.deskew:
        x = srk.preprocessing.deskew(x)
        held_out = held_out and (srk.preprocessing.deskew(held_out[0]), held_out[1])
    arguments.num_classes = len(np.unique(labels))

    results = {}
    if not arguments.no_peers:
        for seed in arguments.seeds:
            for name, classes in peers(x, arguments.num_classes, seed):
                results.setdefault(name, []).append(score(labels, classes))
    is_image = arguments.data in ("digits", "tutorial", "mnist")
    kinds = {"with messages": True, "no messages": False} if is_image else {}
    if arguments.no_control:
        kinds.pop("no messages", None)
    for kind, backward in kinds.items():
        for seed in arguments.seeds:
            rounds, held, seconds = run((x, labels, held_out), arguments, seed, backward)
            for number, scores in enumerate(rounds, 1):
                results.setdefault(f"{kind}, round {number}", []).append(scores)
            if held is not None:
                results.setdefault(f"{kind}, held out", []).append(held)
    print(f"\n{len(x):,} samples, {len(arguments.seeds)} seeds, mean ± sd\n")
    print("| | accuracy | NMI | ARI |\n|---|---|---|---|")
    for name, scores in results.items():
        show(name, scores)


if __name__ == "__main__":
    main()
