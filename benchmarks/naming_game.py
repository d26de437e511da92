"""Naming games beside agents on their own: what the names tell of the things, over seeds.

Two mixtures, each nearly blind to another pair of five kinds (`examples/naming_game.py`); adjusted
Rand index of the signs, of what each agent believes after it heard them and of what it sees by
itself, Cohen's kappa of the agents after hearing and by themselves, and the share of proposals that
were accepted. Labels only score.

    python benchmarks/naming_game.py --seeds 8
    python benchmarks/naming_game.py --experts --seeds 5
    python benchmarks/naming_game.py --restarts --seeds 5

With --restarts two agents see the digits of scikit-learn, the upper and the lower half, or six of
eight rows each. Of eight starts of each agent a pair is chosen, without labels, by what they tell
about each other: the mean of log sum_w p(w | x_1) p(w | x_2) / p(w).
"""

import argparse
import collections
import importlib.util
import itertools
import pathlib

import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn.decomposition import PCA

import kserket as srk
from kserket.inference import experts, naming_game
from kserket.metrics import adjusted_rand_index

ROOT = pathlib.Path(__file__).parent.parent


def load_example():
    """examples/naming_game.py as a module."""
    spec = importlib.util.spec_from_file_location("example", ROOT / "examples" / "naming_game.py")
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    return example


FIGURES = {  # heading -> where it stands in the history
    "signs": "naming/sign_ari",
    "Anna": "anna/ari",
    "Ben": "ben/ari",
    "Anna's own": "naming/anna_ari",
    "Ben's own": "naming/ben_ari",
    "kappa": "naming/agreement",
    "own kappa": "naming/own_agreement",
    "accepted": "naming/acceptance",
}


def play(seeds, rounds):
    """Prints a row for each protocol: mean and standard deviation over seeds."""
    example = load_example()
    print("protocol    " + "".join(f"{name:>14}" for name in FIGURES))
    for protocol in naming_game.PROTOCOLS:
        rows = []
        for seed in seeds:
            srk.Module.reset_names()
            graph = example.make_graph(*example.things(1000, seed), protocol, seed)
            history = graph.fit(rounds=rounds, verbose=0).history
            rows.append([history[figure][-1] for figure in FIGURES.values()])
        cells = zip(np.mean(rows, axis=0), np.std(rows, axis=0), strict=True)
        text = "".join(f"{f'{mean:.3f} ± {spread:.3f}':>14}" for mean, spread in cells)
        print(f"{protocol:12}{text}", flush=True)


def join_experts(seeds):
    """Prints the accuracy of products of experts that number their classes differently."""
    for num_experts, accuracy in ((2, 0.8), (3, 0.8), (5, 0.6)):
        scores = []
        for seed in seeds:
            rng = np.random.default_rng(seed)
            truth = rng.integers(10, size=1000)
            evidence = []
            for _ in range(num_experts):
                guess = rng.integers(10, size=1000)
                said = np.where(rng.random(1000) < accuracy, truth, guess)
                probs = np.full((1000, 10), (1 - accuracy) / 9)
                probs[np.arange(1000), said] = accuracy
                evidence.append(np.log(probs[:, rng.permutation(10)]))
            evidence = np.stack(evidence)
            found = experts.match_classes(evidence, np.ones(evidence.shape[:2], bool))
            joined = experts.numbered_alike(evidence, found).sum(axis=0).argmax(axis=1)
            counts = np.zeros((10, 10))
            np.add.at(counts, (joined, truth), 1)
            scores.append(counts[linear_sum_assignment(-counts)].sum() / len(truth))
        right = accuracy + (1 - accuracy) / 10
        print(
            f"{num_experts} experts, each right for {right:.2f}: "
            f"{np.mean(scores):.3f} +- {np.std(scores):.3f}"
        )


def restart(seeds, num_starts=8):
    """Prints what a pair of starts gains that is chosen by the joint score, and by the bounds."""
    images, labels = srk.datasets.load_digits()
    rows = images.reshape(-1, 8, 8)
    for title, views in {
        "halves": (rows[:, :4], rows[:, 4:]),
        "six rows each": (rows[:, :6], rows[:, 2:]),
    }.items():
        columns = collections.defaultdict(list)
        for seed in seeds:
            pairs = start_pairs(views, labels, num_starts, seed)
            joint, bound, signs, own = pairs.T
            columns["correlation"].append([np.corrcoef(joint, signs)[0, 1]])
            columns["mean pair"].append([signs.mean(), own.mean()])
            for name, score in (("joint score", joint), ("bounds", bound), ("labels", signs)):
                columns[name].append([signs[score.argmax()], own[score.argmax()]])
        print(f"{title}: ARI of the product, and mean of the agents' own")
        for name, found in columns.items():
            cells = zip(np.mean(found, axis=0), np.std(found, axis=0), strict=True)
            print(f"  {name:12} " + "  ".join(f"{mean:.3f} ± {sd:.3f}" for mean, sd in cells))


def start_pairs(views, labels, num_starts, seed):
    """Joint score, sum of bounds, ARI of the product and mean ARI of both, for each pair of starts.

    Returns:
        Array (num_starts ** 2, 4).
    """
    evidence, bounds = [], []
    for view in views:
        z = PCA(8, random_state=0).fit_transform(view.reshape(len(view), -1))
        for _ in range(num_starts):
            model = srk.GaussianMixture(10, n_init=1, seed=1000 * seed + len(evidence))
            bounds.append(model.fit(z, epochs=30, verbose=0).history["bound"][-1])
            evidence.append(np.log(np.maximum(model.predict(z), 1e-300)))
    own = [adjusted_rand_index(labels, part.argmax(axis=1)) for part in evidence]
    seen, pairs = np.ones((2, len(labels)), bool), []
    for i, j in itertools.product(range(num_starts), range(num_starts, 2 * num_starts)):
        both = np.stack([evidence[i], evidence[j]])
        both = experts.numbered_alike(both, experts.match_classes(both, seen))
        log_weights = np.log(np.exp(both).mean(axis=(0, 1)))
        joint = np.logaddexp.reduce(both.sum(axis=0) - log_weights, axis=1)
        signs = adjusted_rand_index(labels, both.sum(axis=0).argmax(axis=1))
        score = np.maximum(joint, -20.0).mean()  # one sample weighs no more than that
        pairs.append([score, bounds[i] + bounds[j], signs, (own[i] + own[j]) / 2])
    return np.array(pairs)


def main(argv=None):
    """Prints the tables.

    Args:
        argv: Command line arguments; None takes those of the process.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--experts", action="store_true", help="products of experts instead")
    parser.add_argument("--restarts", action="store_true", help="choice among starts instead")
    args = parser.parse_args(argv)
    if args.restarts:
        return restart(range(args.seeds))
    if args.experts:
        return join_experts(range(args.seeds))
    return play(range(args.seeds), args.rounds)


if __name__ == "__main__":
    main()
