"""A Markov model whose states last: a wearer's movements found in the readings of a watch.

A watch measures acceleration and rotation on three axes each, ten times a second, while somebody
stands, walks, runs or plays badminton. Half a second is one step: means and spreads of the six
channels. A Gaussian mixture sorts steps, a Markov model learns in which order they come and how
long a movement lasts, and both learn together. Of the movements it knows their number.

The readings are REAL where sktime is installed (`pip install sktime`): BasicMotions, which its
package ships, 80 recordings of ten seconds, joined in random order; so a change of movement is a
cut, and movements last ten seconds or several times that. Else they are SIMULATED, and last as
long. Labels are read by the scores that are printed, and by nothing else. Order finds movements
that the mixture alone confuses. Laws of durations add little here: most steps leave no doubt.

    python examples/movements.py
    python examples/movements.py --simulate --seeds 0 1 2

Reference: Y. Guédon, "Estimating hidden semi-Markov chains from discrete sequences", Journal of
Computational and Graphical Statistics 12(3), 2003.
"""

import argparse
import importlib.util
import pathlib

import numpy as np

import kserket as srk
from kserket import gmm, metrics, mm

MOVEMENTS = "Standing", "Walking", "Running", "Badminton"
RATE, WINDOW = 10, 5  # readings a second; readings a step


def recorded():
    """Recordings (R, T, 6) and their movements (R,) as sktime ships them; None if it does not."""
    package = importlib.util.find_spec("sktime")
    if package is None:
        return None
    folder = pathlib.Path(package.origin).parent / "datasets" / "data" / "BasicMotions"
    recordings, labels = [], []
    for path in sorted(folder.glob("BasicMotions_T*.ts")):
        _, _, rows = path.read_text(encoding="utf-8").partition("@data")
        for row in rows.split():
            *channels, label = row.split(":")
            recordings.append([np.array(part.split(","), float) for part in channels])
            labels.append(MOVEMENTS.index(label))
    if not recordings:
        return None
    return np.array(recordings).swapaxes(1, 2), np.array(labels)


def simulated(rng, per_movement=20, seconds=10):
    """The same shapes: noise, and swings of a frequency and strength of each movement."""
    labels = np.repeat(np.arange(len(MOVEMENTS)), per_movement)
    time = np.arange(seconds * RATE) / RATE
    hertz, strength = np.array([0.3, 1.6, 2.7, 1.1]), np.array([0.2, 1.0, 3.0, 2.0])
    weights = rng.uniform(0.3, 1.0, size=(len(MOVEMENTS), 6))
    phases = rng.uniform(0, 2 * np.pi, size=(len(labels), 1, 6))
    swings = np.sin(2 * np.pi * hertz[labels, None, None] * time[:, None] + phases)
    scale = strength[labels, None, None] * weights[labels, None]
    strokes = (labels == 3)[:, None, None] * rng.standard_t(3, size=swings.shape)
    return scale * (swings + 0.5 * strokes + 0.5 * rng.normal(size=swings.shape)), labels


def steps_of(recordings, labels, rng):
    """Recordings joined in random order, as steps (N, 12), and the movement of each (N,)."""
    order = rng.permutation(len(labels))
    windows = recordings[order].reshape(-1, WINDOW, recordings.shape[2])
    x = np.concatenate([windows.mean(axis=1), np.log(windows.std(axis=1) + 0.05)], axis=1)
    per_recording = len(windows) // len(order)
    return (x - x.mean(axis=0)) / x.std(axis=0), np.repeat(labels[order], per_recording)


def learn(x, seed, duration=None, order=True):
    """The path of states (N,), and the chain's model; the mixture's classes without order."""
    srk.Module.reset_names()
    mixture = gmm.GMM(len(MOVEMENTS), save_dir=None)
    mixture.connect(srk.Observation(x))
    if not order:
        graph = srk.Graph(mixture, seed=seed)
        graph.fit(rounds=1, verbose=0)
        return mixture.posterior.argmax(axis=1), None
    chain = mm.MarkovModel(joint=True, duration=duration, save_dir=None)
    chain.connect(mixture)
    graph = srk.Graph(chain, seed=seed)
    graph.fit(rounds=1, verbose=0)
    path = np.empty(len(x), int)
    for segment in chain.segments():
        path[segment.start : segment.end] = segment.state
    return path, chain.model


def changes_found(path, labels, within=4):
    """F1 of the steps at which the movement changes, each found at most two seconds off."""
    from scipy.optimize import linear_sum_assignment

    true, found = (np.flatnonzero(np.diff(part)) + 1 for part in (labels, path))
    near = np.abs(true[:, None] - found) <= within
    hits = near[linear_sum_assignment(near, maximize=True)].sum() if near.size else 0
    return 2 * hits / max(len(true) + len(found), 1)


def by_ruptures(x, labels):
    """Change points by ruptures, which knows how many there are; None if not installed."""
    if importlib.util.find_spec("ruptures") is None:
        return None
    import ruptures

    number = int(np.count_nonzero(np.diff(labels)))
    found = ruptures.KernelCPD(kernel="rbf").fit(x).predict(n_bkps=number)
    return np.repeat(np.arange(len(found)), np.diff([0, *found]))


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--simulate", action="store_true", help="use no real readings")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="one run each")
    parser.add_argument("--quick", action="store_true", help="fewer recordings")
    options = parser.parse_args(argv)
    real = None if options.simulate else recorded()
    for seed in options.seeds:
        rng = np.random.default_rng(seed)
        recordings, labels = simulated(rng) if real is None else real
        if options.quick:
            recordings, labels = recordings[::4], labels[::4]
        x, movements = steps_of(recordings, labels, rng)
        kind = "simulated" if real is None else "real"
        print(f"seed {seed}: {len(x)} steps of {WINDOW / RATE} s, {kind} readings")
        methods = {
            "mixture alone": {"order": False},
            "Markov model": {},
            "with durations": {"duration": "negative_binomial"},
        }
        for name, choice in methods.items():
            path, model = learn(x, seed, **choice)
            accuracy = metrics.clustering_accuracy(movements, path)
            line = f"{name:16}accuracy {accuracy:.3f}, F1 of changes "
            line += f"{changes_found(path, movements):.3f}"
            if model is not None:
                lasts = model.expected_durations * WINDOW / RATE
                line += f", movements last {', '.join(f'{mean:.0f}' for mean in lasts)} s"
            print(line)
        cut = by_ruptures(x, movements)
        if cut is not None:
            print(f"{'ruptures':16}F1 of changes {changes_found(cut, movements):.3f}")


if __name__ == "__main__":
    main()
