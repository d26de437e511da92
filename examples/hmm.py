"""GMM + Markov model = a hidden Markov model: states found in points that come in order.

Points in the plane come from five states. Neighbors overlap, so that a point alone often does
not tell its state; the order of the points does. A Gaussian mixture sorts the points, a Markov
model learns the order of its classes and tells the mixture, for each point, what all other points
say. The same data are given to hmmlearn's GaussianHMM, if it is installed.

The default data are SIMULATED. With --data they are yours: a folder with `data.txt`, a point a
line, and `category.txt`, its state, as Serket's tutorials have them; or an .npz with `points`
(N, D), `states` (N,) and, if there are several sequences, their `lengths`. States are read by the
scores that are printed, and by nothing else.

    python examples/hmm.py
    python examples/hmm.py --num-steps 300 --sequences 4
    python examples/hmm.py --data points.npz

Reference: L. R. Rabiner, "A tutorial on hidden Markov models and selected applications in speech
recognition", Proceedings of the IEEE 77(2), 1989.
"""

import argparse
import pathlib
import time

import numpy as np

import kserket as srk
from kserket import gmm, metrics, mm
from kserket.inference import markov_chain

NUM_STATES = 5
MEANS = np.array([[0.0, 0.0], [2.0, 0.0], [3.0, 1.7], [2.0, 3.4], [0.0, 3.4]])
TRANSITIONS = np.array(  # mostly 0 -> 2 -> 4 -> 1 -> 3 -> 0, never between neighbors in the plane
    [
        [0.15, 0.05, 0.70, 0.05, 0.05],
        [0.05, 0.15, 0.05, 0.70, 0.05],
        [0.05, 0.05, 0.15, 0.05, 0.70],
        [0.70, 0.05, 0.05, 0.15, 0.05],
        [0.05, 0.70, 0.05, 0.05, 0.15],
    ]
)
NUM_STARTS = 5


def simulate(lengths, rng):
    """Points (N, 2) and their states (N,)."""
    first = np.full(NUM_STATES, 1 / NUM_STATES)
    states = markov_chain.sample(first, TRANSITIONS, lengths, rng)
    return MEANS[states] + rng.normal(size=(len(states), 2)), states


def load(path):
    """Points (N, D), their states (N,) counted from 0, and lengths of sequences.

    Args:
        path: A folder of text files, or an .npz.
    """
    path = pathlib.Path(path)
    if path.is_dir():
        x, names = np.loadtxt(path / "data.txt", ndmin=2), np.loadtxt(path / "category.txt")
        lengths = [len(x)]
    else:
        with np.load(path, allow_pickle=False) as archive:
            x, names = archive["points"], archive["states"]
            lengths = archive["lengths"].tolist() if "lengths" in archive else [len(x)]
    return x, np.unique(names, return_inverse=True)[1], lengths


def transitions_of(states, lengths):
    """How often each state follows each in labeled sequences, as probabilities (K, K)."""
    num_states = states.max() + 1
    counts = markov_chain.count(states[None], num_states, lengths).transitions
    return counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)


def run_kserket(x, states, num_states, lengths, rounds, seed, trust):
    """The best of several starts of GMM + MM, by log p(point | all other points) after two rounds.

    Returns:
        What the mixture says before it hears the chain (N,), what the chain says at last (N,), and
        the transitions that it learned.
    """

    def start(number):
        srk.Module.reset_names()
        obs = srk.Observation(x)
        gmm1 = gmm.GMM(num_states, n_init=1, category=states, save_dir=None)
        mm1 = mm.MarkovModel(lengths=lengths, trust=trust, save_dir=None)
        gmm1.connect(obs)
        mm1.connect(gmm1)
        graph = srk.Graph(mm1, seed=100 * seed + number)
        graph.fit(rounds=1, verbose=0)
        alone = gmm1.posterior.argmax(axis=1)
        fit = graph.fit(rounds=1, verbose=0).history["gmm/log_likelihood"][-1]
        return fit, number, graph, alone

    _, _, graph, alone = max(start(number) for number in range(NUM_STARTS))
    graph.fit(rounds=rounds - 2, verbose=0)
    return alone, graph["mm"].posterior.argmax(axis=1), graph["mm"].model.transition_matrix


def run_hmmlearn(x, num_states, lengths, seed):
    """The best of as many starts of hmmlearn's GaussianHMM: its states, and transitions."""
    from hmmlearn.hmm import GaussianHMM

    models = []
    for start in range(NUM_STARTS):
        model = GaussianHMM(
            num_states, covariance_type="full", n_iter=200, random_state=100 * seed + start
        )
        models.append(model.fit(x, lengths))
    best = max(models, key=lambda model: model.score(x, lengths))
    return best.predict_proba(x, lengths).argmax(axis=1), best.transmat_


def score(states, found, true_transitions=None, transitions=None):
    """Accuracy, and the mean absolute error of transition probabilities, states matched."""
    accuracy = metrics.clustering_accuracy(states, found)
    if transitions is None:
        return accuracy, np.nan
    _, name_of = metrics.match_labels(states, found)
    num_states = len(transitions)
    order = sorted(range(num_states), key=lambda k: name_of.get(k, num_states))
    return accuracy, np.abs(transitions[np.ix_(order, order)] - true_transitions).mean()


def main(argv=None):
    """Runs the example.

    Args:
        argv: Command line arguments; None takes those of the process.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="a folder with data.txt and category.txt, or an .npz")
    parser.add_argument("--num-steps", type=int, default=1000, help="points in a sequence")
    parser.add_argument("--sequences", type=int, default=1)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rounds", type=int, default=10, help="2 at least")
    parser.add_argument("--quick", action="store_true", help="little data: does it run?")
    args = parser.parse_args(argv)
    if args.rounds < 2:
        parser.error("--rounds: 2 at least, since starts are compared after two")
    if args.quick:
        args.num_steps, args.seeds, args.rounds = 200, args.seeds[:1], 3
    if args.data:
        x, states, lengths = load(args.data)
        truth = transitions_of(states, lengths)
        print(f"{len(x)} points of {len(truth)} states in {len(lengths)} sequences: {args.data}")
    else:
        lengths, truth = [args.num_steps] * args.sequences, TRANSITIONS
        print(f"{args.sequences} x {args.num_steps} simulated points of {NUM_STATES} states")

    results, seconds = {}, {}

    def keep(name, start, *scores):
        results.setdefault(name, []).append(scores)
        seconds[name] = seconds.get(name, 0.0) + time.process_time() - start

    for seed in args.seeds:
        if not args.data:
            x, states = simulate(lengths, np.random.default_rng(seed))
        for name, trust in {"GMM + MM": 10.0, "GMM + MM, trust=inf": np.inf}.items():
            start = time.process_time()
            alone, found, transitions = run_kserket(
                x, states, len(truth), lengths, args.rounds, seed, trust
            )
            if trust == np.inf:
                results.setdefault("GMM alone", []).append(score(states, alone))
            keep(name, start, *score(states, found, truth, transitions))
        try:
            start = time.process_time()
            found, transitions = run_hmmlearn(x, len(truth), lengths, seed)
            keep("hmmlearn", start, *score(states, found, truth, transitions))
        except ImportError:
            print("hmmlearn is not installed: pip install hmmlearn")

    print(f"\n{'':22}{'accuracy':>18}{'error of transitions':>24}{'CPU s a run':>14}")
    for name in ("GMM alone", "GMM + MM, trust=inf", "GMM + MM", "hmmlearn"):
        if name not in results:
            continue
        (accuracy, error), spread = np.mean(results[name], axis=0), np.std(results[name], axis=0)
        line = f"{name:22}{accuracy:>10.3f} +- {spread[0]:.3f}"
        if np.isfinite(error):
            line += f"{error:>15.3f} +- {spread[1]:.3f}{seconds[name] / len(args.seeds):>14.1f}"
        print(line)


if __name__ == "__main__":
    main()
