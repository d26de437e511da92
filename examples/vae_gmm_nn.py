"""Handwritten digits whose class a second sense helps to find: VAE+GMM+NN.

A VAE and a mixture sort images. A network learns what goes with each class, here the same digit as
another hand wrote it, and tells the mixture which class that speaks for. Then the target of new
images is predicted.

    python examples/vae_gmm_nn.py
"""

import argparse

import kserket as srk  # first, so that TensorFlow prints no start-up lines

# isort: split
import numpy as np

from kserket import gmm, nn, vae


def pairs(seed):
    """Images, the components of an image of the same digit by another hand, and labels."""
    x, labels = srk.datasets.load_digits()
    rng = np.random.default_rng(seed)
    other = np.arange(len(x))
    for digit in range(10):
        rows = np.flatnonzero(labels == digit)
        other[rows] = rng.permutation(rows)
    centered = x - x.mean(axis=0)
    directions = np.linalg.svd(centered, full_matrices=False)[2][:10]
    return x, (centered @ directions.T)[other], labels


def main(argv=None):
    """Learns with and without the network's messages, then predicts targets of new images.

    Args:
        argv: Command line arguments; None takes those of the process.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="little training: does it run?")
    args = parser.parse_args(argv)

    x, target, labels = pairs(args.seed)
    train = slice(300 if args.quick else 1500)
    for backward in (False, True):
        srk.Module.reset_names()
        epochs = 2 if args.quick else 50
        vae1 = vae.VAE(10, itr=epochs, batch_size=100, KL_param=1 / 16, save_dir=None)
        gmm1 = gmm.GMM(10, category=labels[train], save_dir=None)
        nn1 = nn.NN(epochs, 20 if args.quick else 500, batch_size1=100, save_dir=None)
        vae1.connect(srk.Observation(x[train], name="image"))
        gmm1.connect(vae1)
        nn1.connect(gmm1, srk.Observation(target[train], name="other"), backward=backward)
        graph = srk.Graph(nn1, seed=args.seed)
        graph.fit(rounds=1 if args.quick else 5, verbose=0)
        heard = "with" if backward else "without"
        print(f"Accuracy {heard} messages of the network: {gmm1.logs['accuracy']:.3f}")

    predicted = graph.predict({"image": x[1500:]}, "other")
    spread = ((target[1500:] - target[train].mean(axis=0)) ** 2).mean()
    error = ((target[1500:] - predicted) ** 2).mean() / spread
    print(f"Error of what is predicted of new images: {error:.2f} of the variance")


if __name__ == "__main__":
    main()
