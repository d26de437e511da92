"""Naming games beside agents on their own: what the names tell of the things, over seeds.

Two mixtures, each nearly blind to another pair of five kinds (`examples/naming_game.py`); adjusted
Rand index of the signs, of what each agent believes after it heard them and of what it sees by
itself, Cohen's kappa of the agents after hearing and by themselves, and the share of proposals that
were accepted. Labels only score.

    python benchmarks/naming_game.py --seeds 8
    python benchmarks/naming_game.py --experts --seeds 5
"""

import argparse
import importlib.util
import pathlib

import numpy as np
from scipy.optimize import linear_sum_assignment

import kserket as srk
from kserket.inference import experts, naming_game

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


def main(argv=None):
    """Prints the tables.

    Args:
        argv: Command line arguments; None takes those of the process.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--experts", action="store_true", help="products of experts instead")
    args = parser.parse_args(argv)
    if args.experts:
        return join_experts(range(args.seeds))
    return play(range(args.seeds), args.rounds)


if __name__ == "__main__":
    main()
