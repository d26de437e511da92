"""VAE+GMM, with or without a Markov model, on the images of Serket's tutorial, over seeds.

    python benchmarks/vae_gmm.py path/to/serket_tutorial.npz --seeds 0 1 2 3 4

The path may stand in the environment variable KSERKET_TUTORIAL instead.

Prints, for every round, the mean and population standard deviation over seeds of the mixture's
clustering accuracy, NMI and ARI, at the original's settings; with --no-backward the same without
the messages that come back, with --markov under a Markov model (the digits come in the order 0
to 9). Labels score and decide nothing.
"""

import argparse
import os
import tempfile
import time

import numpy as np

import kserket as srk
from kserket import gmm, mm, vae

SCORES = ("accuracy", "nmi", "ari")


def run(images, labels, seed, rounds, backward, markov, save_dir):
    """Scores (rounds, 3) of the mixture and CPU seconds of one run."""
    vae1 = vae.VAE(18, itr=200, batch_size=500, save_dir=save_dir)
    gmm1 = gmm.GMM(10, itr=100, category=labels, save_dir=save_dir)
    vae1.connect(srk.Observation(images))
    gmm1.connect(vae1, backward=backward)
    top = gmm1
    if markov:
        top = mm.MarkovModel(category=labels, save_dir=save_dir)
        top.connect(gmm1, backward=backward)
    begin = time.process_time()
    history = srk.Graph(top, seed=seed).fit(rounds, verbose=2).history
    seconds = time.process_time() - begin
    return np.array([history[f"gmm/{score}"] for score in SCORES]).T, seconds


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    data = os.environ.get("KSERKET_TUTORIAL")
    parser.add_argument("data", nargs="?", default=data, help="the tutorial's data, .npz")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-backward", action="store_true", help="send no message back")
    parser.add_argument("--markov", action="store_true", help="a Markov model on top")
    arguments = parser.parse_args(argv)
    if arguments.data is None:
        parser.exit(message="Left out: give the tutorial's data, or set KSERKET_TUTORIAL.\n")
    images, _, labels = srk.datasets.load_serket_tutorial(arguments.data)
    runs, seconds = [], []
    for seed in arguments.seeds:
        with tempfile.TemporaryDirectory() as folder:
            scores, cpu = run(
                images,
                labels,
                seed,
                arguments.rounds,
                not arguments.no_backward,
                arguments.markov,
                folder,
            )
        runs.append(scores)
        seconds.append(cpu)
        print(f"seed {seed}: accuracy {np.round(scores[:, 0], 3)}, {cpu:.0f} CPU s", flush=True)
    print(f"\n{len(runs)} seeds, mean +- sd; {np.median(seconds):.0f} CPU s a run (median)")
    print("round  " + "".join(f"{score:>16}" for score in SCORES))
    for number, (mean, sd) in enumerate(zip(np.mean(runs, 0), np.std(runs, 0), strict=True), 1):
        cells = "".join(f"{m:>9.3f} +- {s:.3f}" for m, s in zip(mean, sd, strict=True))
        print(f"{number:>5}  {cells}")


if __name__ == "__main__":
    main()
