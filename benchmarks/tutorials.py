"""The four tutorials of Serket on their own data, over seeds.

    python benchmarks/tutorials.py path/to/serket_tutorial.npz --model vae+gmm+mlda

The path may stand in the environment variable KSERKET_TUTORIAL instead.

Prints, for every round, the mean and population standard deviation over seeds of clustering
accuracy, NMI and ARI of each module that classifies, at the original's settings, and what each
module took of the processor. --no-backward sends no message back: each module then learns from
what is below it alone. Labels score and decide nothing.
"""

import argparse
import os
import tempfile
import time

import kserket as srk  # first, so that TensorFlow prints no start-up lines

# isort: split
import keras
import numpy as np

from kserket import gmm, mlda, mm, vae

MODELS = ("vae+gmm", "vae+gmm+mm", "vae+gmm+mlda", "vae+gmm+mlda+mm")
SCORES = ("accuracy", "nmi", "ari")
CLASSES = 10


class ProcessorTime(keras.callbacks.Callback):
    """CPU seconds of each module's updates, module after module and round after round."""

    def __init__(self):
        super().__init__()
        self.seconds, self._begin = [], None

    def on_train_batch_begin(self, batch, logs=None):
        self._begin = time.process_time()

    def on_train_batch_end(self, batch, logs=None):
        self.seconds.append(time.process_time() - self._begin)


def compose(model, images, speech, labels, seed, backward, save_dir):
    """The graph of one tutorial."""
    parts = model.split("+")
    options = {"category": labels, "save_dir": save_dir}
    vae1 = vae.VAE(18, itr=200, batch_size=500, save_dir=save_dir)
    top = gmm.GMM(CLASSES, itr=100, **options)
    vae1.connect(srk.Observation(images, name="image"))
    top.connect(vae1, backward=backward)
    if "mlda" in parts:
        joint = mlda.MLDA(CLASSES, [200, 200], itr=100, **options)
        joint.connect(srk.Observation(speech, name="speech"), top, backward=backward)
        top = joint
    if "mm" in parts:
        chain = mm.MarkovModel(**options)
        chain.connect(top, backward=backward)
        top = chain
    return srk.Graph(top, seed=seed)


def run(model, images, speech, labels, seed, rounds, backward):
    """One run.

    Returns:
        Dict from module to scores (rounds, 3), and one to CPU seconds (rounds,).
    """
    clock = ProcessorTime()
    with tempfile.TemporaryDirectory() as folder:
        graph = compose(model, images, speech, labels, seed, backward, folder)
        history = graph.fit(rounds, callbacks=[clock], verbose=2).history
    names = list(graph.names.values())
    seconds = dict(zip(names, np.reshape(clock.seconds, (rounds, -1)).T, strict=True))
    scores = {
        name: np.array([history[f"{name}/{score}"] for score in SCORES]).T
        for name in names
        if f"{name}/accuracy" in history
    }
    return scores, seconds


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    data = os.environ.get("KSERKET_TUTORIAL")
    parser.add_argument("data", nargs="?", default=data, help="the tutorial's data, .npz")
    parser.add_argument("--model", choices=MODELS, default=MODELS[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-backward", action="store_true", help="send no message back")
    arguments = parser.parse_args(argv)
    if arguments.data is None:
        parser.exit(message="Left out: give the tutorial's data, or set KSERKET_TUTORIAL.\n")
    images, speech, labels = srk.datasets.load_serket_tutorial(arguments.data)
    runs = []
    for seed in arguments.seeds:
        srk.Module.reset_names()
        runs.append(
            run(
                arguments.model,
                images,
                speech,
                labels,
                seed,
                arguments.rounds,
                not arguments.no_backward,
            )
        )
        reached = {name: part[:, 0].round(3).tolist() for name, part in runs[-1][0].items()}
        print(f"seed {seed}: accuracy {reached}", flush=True)
    show(runs, arguments)


def show(runs, arguments):
    """Prints the tables."""
    sent = "no message sent back" if arguments.no_backward else "messages sent back"
    print(f"\n{arguments.model}, {sent}, {len(runs)} seeds, mean +- sd")
    for name in runs[0][0]:
        print(f"\n{name:<6} round" + "".join(f"{score:>17}" for score in SCORES))
        parts = np.array([scores[name] for scores, _ in runs])
        for number, (mean, sd) in enumerate(zip(parts.mean(0), parts.std(0), strict=True), 1):
            cells = "".join(f"{m:>10.3f} +- {s:.3f}" for m, s in zip(mean, sd, strict=True))
            print(f"{number:>12}{cells}")
    print("\nCPU seconds, median over seeds: first round, later rounds, whole run")
    for name in runs[0][1]:
        seconds = np.array([spent[name] for _, spent in runs])
        later = np.median(seconds[:, 1:]) if seconds.shape[1] > 1 else float("nan")
        whole = np.median(seconds.sum(axis=1))
        print(f"{name:>6}{np.median(seconds[:, 0]):>9.1f}{later:>9.1f}{whole:>9.1f}")
    whole = np.median([sum(part.sum() for part in spent.values()) for _, spent in runs])
    print(f"   all{whole:>27.1f}")


if __name__ == "__main__":
    main()
