"""A multinomial VAE of images and counts of sounds below a topic model, over seeds.

    python benchmarks/mnvae.py path/to/serket_tutorial.npz

The path may stand in the environment variable KSERKET_TUTORIAL instead.

Learns twice from each seed, with messages from the topic model to the VAE and without, and prints
for both: accuracy of the topic model, cross entropy of the reconstructed images (nats), accuracy of
k-means on the square roots of what describes an image, and how many images predicted from sounds
alone resemble their own digit's mean most. --no-speech leaves the sounds out, and then nothing is
sent to the VAE at all; with --echo it is sent what a topic model of one input knows without that
input, the mean of what it heard. Labels score and decide nothing.
"""

import argparse
import os

import kserket as srk  # first, so that TensorFlow prints no start-up lines

# isort: split
import numpy as np
from sklearn.cluster import KMeans

from kserket import mlda, mnvae

CLASSES, WORDS, DRAWS = 10, 32, 100
FIGURES = ("MLDA accuracy", "cross entropy", "k-means accuracy", "images from sounds")


def learn(images, speech, labels, seed, arguments, backward):
    """Figures (4,) of the last round of one run."""
    srk.Module.reset_names()
    mnvae1 = mnvae.MNVAE(
        WORDS,
        N=DRAWS,
        itr=arguments.epochs,
        batch_size=100,
        KL_param=arguments.weight,
        hidden_encoder_dim=128,
        hidden_decoder_dim=128,
        save_dir=None,
    )
    mnvae1.connect(srk.Observation(images, name="image"))
    weights = [DRAWS] if arguments.no_speech else [DRAWS, 150]
    mlda1 = mlda.MLDA(CLASSES, weights, itr=100, category=labels, save_dir=None)
    below = [] if arguments.no_speech else [srk.Observation(speech, name="speech")]
    mlda1.connect(mnvae1, *below)
    graph = srk.Graph(mlda1, seed=seed)
    for number in range(arguments.rounds):
        graph.fit(rounds=1, verbose=0)
        if not backward:
            mnvae1.set_backward_msg(None)
        elif arguments.echo:
            mnvae1.set_backward_msg(
                np.tile(mnvae1.model.encode(images).mean(axis=0), (len(images), 1))
            )
        print(f"  seed {seed} round {number + 1}: {mnvae1.logs}", flush=True)
    means = np.stack([images[labels == label].mean(axis=0) for label in range(CLASSES)])
    described = mnvae1.model.encode(images)
    reconstructed = np.clip(mnvae1.model.decode(DRAWS * described), 1e-7, 1 - 1e-7)
    cost = -(images * np.log(reconstructed) + (1 - images) * np.log1p(-reconstructed)).sum(axis=1)
    groups = KMeans(CLASSES, n_init=3, random_state=0).fit_predict(np.sqrt(described))
    resembles = float("nan")
    if not arguments.no_speech:
        drawn = graph.predict({"speech": speech}, outputs="image")
        nearest = np.square(drawn[:, None] - means).sum(axis=2).argmin(axis=1)
        resembles = (nearest == labels).mean()
    kmeans = srk.metrics.clustering_accuracy(labels, groups)
    return [mlda1.logs["accuracy"], cost.mean(), kmeans, resembles]


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", nargs="?", default=os.environ.get("KSERKET_TUTORIAL"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[10, 11, 12, 13, 14])
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--epochs", type=int, default=60, help="in a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--weight", type=float, nargs="+", default=[1.0], help="KL_param")
    parser.add_argument("--no-speech", action="store_true")
    parser.add_argument("--echo", action="store_true")
    arguments = parser.parse_args()
    if arguments.data is None:
        parser.error("name the file of the tutorial, or set KSERKET_TUTORIAL")
    images, speech, labels = srk.datasets.load_serket_tutorial(arguments.data)
    data = [part[: arguments.samples] for part in (images, speech, labels)]
    print(f"{'':<12}" + "".join(f"{name:>22}" for name in FIGURES))
    found = {True: [], False: []}
    for seed in arguments.seeds:
        for backward, rows in found.items():
            rows.append(learn(*data, seed, arguments, backward))
            cells = "".join(f"{value:>22.3f}" for value in rows[-1])
            print(f"{seed} {'messages' if backward else 'alone':<9}{cells}", flush=True)
    for backward, rows in found.items():
        mean, spread = np.mean(rows, axis=0), np.std(rows, axis=0)
        cells = "".join(f"{m:>13.3f} +- {s:.3f}" for m, s in zip(mean, spread, strict=True))
        print(f"{'messages' if backward else 'alone':<12}{cells}")
    ratio = np.array(found[True])[:, 1] / np.array(found[False])[:, 1]
    print(f"cross entropy with messages over that without: {ratio.mean():.3f} +- {ratio.std():.3f}")


if __name__ == "__main__":
    main()
