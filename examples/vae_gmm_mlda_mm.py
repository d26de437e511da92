"""VAE + GMM + MLDA + Markov model: images, sounds, and the order in which they come.

Four modules deep. A variational autoencoder compresses each image, a Gaussian mixture sorts the
codes, a multimodal LDA ties the mixture's classes to histograms of sounds, and a Markov model
learns in which order the topics follow each other. What it expects of each one comes down the whole
chain, each module telling the next in its own terms.

The default images are scikit-learn's handwritten digits, ARRANGED here as Serket's tutorial has
them: 0, 1, ..., 9, 0, 1, ... Their sounds are SIMULATED, hard to tell apart: each digit has its own
distribution over sound units, near that of its neighbor, and utterances repeat themselves. With
--data images, sounds and order are Serket's own.

    python examples/vae_gmm_mlda_mm.py                        # 1,740 digits, simulated sounds
    python examples/vae_gmm_mlda_mm.py --data tutorial.npz    # Serket's own 3,000 pairs
    python examples/vae_gmm_mlda_mm.py --one-way              # the same, nothing sent back

Labels arrange the default data, simulate the sounds, and score; nothing that learns sees them.

Reference: T. Nakamura, T. Nagai and T. Taniguchi, "SERKET: An Architecture for Connecting
Stochastic Models to Realize a Large-Scale Cognitive Model", Frontiers in Neurorobotics 12:25, 2018.
"""

import argparse

import numpy as np

import kserket as srk
from kserket import gmm, mlda, mm, vae

NUM_CLASSES = 10
# As in vae_gmm.py: a pixel of these images is the mean of 16 binary ones.
DIGITS = {"latent_dim": 10, "itr": 50, "batch_size": 100, "KL_param": 1 / 16}
TUTORIAL = {"latent_dim": 18, "itr": 200, "batch_size": 500}


def in_cyclic_order(x, labels):
    """As many of each digit as the rarest has, in the order 0, 1, ..., 9, 0, 1, ..."""
    rows = [np.flatnonzero(labels == digit) for digit in range(NUM_CLASSES)]
    shortest = min(len(part) for part in rows)
    order = np.stack([part[:shortest] for part in rows], axis=1).ravel()
    return x[order], labels[order]


def simulate_speech(labels, seed=0, num_units=100, length=40, steadiness=4.0):
    """Histograms of sound units (N, num_units): pairs of digits sound half alike.

    Args:
        labels: Digit of each utterance (N,).
        seed: Integer.
        num_units: Kinds of sounds.
        length: Sounds in an utterance.
        steadiness: How alike utterances of one digit are: the less, the more each repeats itself.
    """
    rng = np.random.default_rng(seed)
    pairs = np.repeat(rng.dirichlet(np.full(num_units, 0.15), NUM_CLASSES // 2), 2, axis=0)
    digits = (pairs + rng.dirichlet(np.full(num_units, 0.15), NUM_CLASSES)) / 2 + 1e-3
    utterances = np.array([rng.dirichlet(steadiness * digits[label]) for label in labels])
    return rng.multinomial(length, utterances)


def learn(images, speech, labels, settings, rounds, seed, backward=True):
    """One run.

    Args:
        images: (N, D), values from 0 to 1, one after another in time.
        speech: Histograms (N, V).
        labels: (N,), to score.
        settings: Arguments of `vae.VAE`.
        rounds: Number of rounds.
        seed: Integer.
        backward: Whether messages come back down.
    """
    srk.Module.reset_names()
    vae1 = vae.VAE(**settings, save_dir=None)
    gmm1 = gmm.GMM(NUM_CLASSES, category=labels, save_dir=None)
    mlda1 = mlda.MLDA(NUM_CLASSES, weights=[200, 200], category=labels, save_dir=None)
    mm1 = mm.MarkovModel(category=labels, save_dir=None)

    vae1.connect(srk.Observation(images, name="image"))
    gmm1.connect(vae1, backward=backward)
    mlda1.connect(srk.Observation(speech, name="speech"), gmm1, backward=backward)
    mm1.connect(mlda1, backward=backward)
    graph = srk.Graph(mm1, seed=seed)

    print(f"\nSeed {seed}" + ("" if backward else ", nothing sent back"))
    print("accuracy of   GMM    MLDA   Markov model")
    for number in range(1, rounds + 1):
        figures = graph.fit(rounds=1, verbose=0).history
        accuracy = [figures[f"{name}/accuracy"][-1] for name in ("gmm", "mlda", "mm")]
        print("round {:<6}{:>7.3f}{:>8.3f}{:>15.3f}".format(number, *accuracy), flush=True)


def main(argv=None):
    """Runs the tutorial.

    Args:
        argv: Command line arguments; None takes those of the process.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="Serket's tutorial data: an .npz file or a folder")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one-way", action="store_true", help="send nothing back")
    parser.add_argument("--quick", action="store_true", help="little training: does it run?")
    args = parser.parse_args(argv)

    if args.data:
        images, speech, labels = srk.datasets.load_serket_tutorial(args.data)
        settings, source = TUTORIAL, "Serket's tutorial"
    else:
        images, labels = in_cyclic_order(*srk.datasets.load_digits())
        speech = simulate_speech(labels)
        settings, source = DIGITS, "scikit-learn's digits, arranged; sounds simulated"
    if args.quick:
        settings, args.seeds, args.rounds = settings | {"itr": 3}, args.seeds[:1], 2
    print(f"{len(images):,} images and {len(speech):,} histograms of sounds: {source}")
    for seed in args.seeds:
        learn(images, speech, labels, settings, args.rounds, seed, not args.one_way)


if __name__ == "__main__":
    main()
