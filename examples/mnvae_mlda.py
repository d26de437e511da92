"""MNVAE + MLDA: pictures described by words that others share, and predicted from them.

A multinomial autoencoder describes each image by counts of latent words. A multimodal LDA reads
these counts beside a histogram of sounds, and sends back which words it expects of each image: what
sounds alike is described alike. In the other direction an image is predicted from sounds alone.

The default images are scikit-learn's handwritten digits. Their sounds are SIMULATED: each digit
has its own distribution over sound units. With --data both are real: MNIST images, and histograms
of spoken Arabic digits.

    python examples/mnvae_mlda.py                        # 1,797 digits, simulated sounds
    python examples/mnvae_mlda.py --data tutorial.npz    # Serket's own 3,000 pairs
    python examples/mnvae_mlda.py --one-way              # the same, nothing sent back

Labels simulate the sounds and score; nothing that learns sees them.

Reference: Kuniyasu, Nakamura, Taniguchi and Nagai, "Robot concept acquisition based on interaction
between probabilistic and deep generative models", Frontiers in Computer Science 3:618069, 2021.
"""

import argparse

import numpy as np

import kserket as srk
from kserket import metrics, mlda, mnvae

NUM_CLASSES, DRAWS = 10, 100
SETTINGS = {"latent_dim": 32, "itr": 60, "batch_size": 100}


def simulate_speech(labels, seed=0, num_units=100, length=40):
    """Histograms of sound units (N, num_units), one utterance a row.

    Args:
        labels: Digit of each utterance (N,).
        seed: Integer.
        num_units: Kinds of sounds.
        length: Sounds in an utterance.
    """
    rng = np.random.default_rng(seed)
    digits = rng.dirichlet(np.full(num_units, 0.15), NUM_CLASSES)
    return rng.multinomial(length, digits[labels])


def learn(images, speech, labels, settings, rounds, seed, backward=True):
    """One run.

    Args:
        images: (N, D), values from 0 to 1.
        speech: Histograms (N, V).
        labels: (N,), to score.
        settings: Arguments of `mnvae.MNVAE`.
        rounds: Number of rounds.
        seed: Integer.
        backward: Whether messages come back down.

    Returns:
        The graph.
    """
    srk.Module.reset_names()
    mnvae1 = mnvae.MNVAE(N=DRAWS, **settings, save_dir=None)
    mlda1 = mlda.MLDA(NUM_CLASSES, [DRAWS, 150], category=labels, save_dir=None)
    mnvae1.connect(srk.Observation(images, name="image"))
    mlda1.connect(mnvae1, srk.Observation(speech, name="speech"), backward=backward)
    graph = srk.Graph(mlda1, seed=seed)

    print(f"\nSeed {seed}" + ("" if backward else ", nothing sent back"))
    print("round   reconstruction (nats)   MLDA")
    for number in range(1, rounds + 1):
        figures = graph.fit(rounds=1, verbose=0).history
        cost, joint = figures["mnvae/reconstruction"][-1], figures["mlda/accuracy"][-1]
        print(f"{number:>5}{cost:>24.1f}{joint:>7.3f}", flush=True)
    return graph


def resemblance(pictures, images, labels):
    """Share of pictures that are nearest to the mean image of their own digit.

    Args:
        pictures: (N, D), as predicted.
        images: (N, D).
        labels: (N,).
    """
    digits = np.unique(labels)
    means = np.stack([images[labels == digit].mean(axis=0) for digit in digits])
    nearest = np.square(pictures[:, None] - means).sum(axis=2).argmin(axis=1)
    return (digits[nearest] == labels).mean()


def main(argv=None):
    """Runs the tutorial.

    Args:
        argv: Command line arguments; None takes those of the process.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="Serket's tutorial data: an .npz file or a folder")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one-way", action="store_true", help="send nothing back")
    parser.add_argument("--quick", action="store_true", help="little training: does it run?")
    args = parser.parse_args(argv)

    if args.data:
        images, speech, labels = srk.datasets.load_serket_tutorial(args.data)
        source = "Serket's tutorial"
    else:
        images, labels = srk.datasets.load_digits()
        speech, source = simulate_speech(labels), "scikit-learn's digits, sounds simulated"
    settings = SETTINGS
    if args.quick:
        settings, args.seeds, args.rounds = settings | {"itr": 2}, args.seeds[:1], 2
    print(f"{len(images):,} images and {len(speech):,} histograms of sounds: {source}")
    for seed in args.seeds:
        graph = learn(images, speech, labels, settings, args.rounds, seed, not args.one_way)

    seen = graph.predict({"image": images, "speech": None}, outputs="mlda").argmax(axis=1)
    print("\nThe last graph, given one of the two and not the other:")
    print(f"  digits from images only   {metrics.clustering_accuracy(labels, seen):.3f}")
    if not args.one_way:
        pictures = graph.predict({"image": None, "speech": speech}, outputs="image")
        share = resemblance(pictures, images, labels)
        print(f"  pictures from sounds only that resemble their digit most   {share:.3f}")


if __name__ == "__main__":
    main()
