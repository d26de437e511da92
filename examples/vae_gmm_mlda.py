"""VAE + GMM + MLDA: images of digits and the sound of their names, sorted together.

A variational autoencoder compresses each image and a Gaussian mixture sorts the codes into ten
classes. A multimodal LDA ties that class to a histogram of sounds: what the sounds say of a digit
becomes the mixture's class prior, and reaches the autoencoder through it.

The default images are scikit-learn's handwritten digits. Their sounds are SIMULATED: each digit
has its own distribution over sound units, and, as in speech, utterances repeat themselves, so that
a histogram says less than its length promises. With --data both are real: MNIST images, and
histograms of spoken Arabic digits.

    python examples/vae_gmm_mlda.py                        # 1,797 digits, simulated sounds
    python examples/vae_gmm_mlda.py --data tutorial.npz    # Serket's own 3,000 pairs
    python examples/vae_gmm_mlda.py --one-way              # the same, nothing sent back

Labels simulate the sounds and score; nothing that learns sees them.

Reference: T. Nakamura, T. Nagai and T. Taniguchi, "SERKET: An Architecture for Connecting
Stochastic Models to Realize a Large-Scale Cognitive Model", Frontiers in Neurorobotics 12:25, 2018.
"""

import argparse

import numpy as np

import kserket as srk
from kserket import gmm, metrics, mlda, vae

NUM_CLASSES = 10
# As in vae_gmm.py: a pixel of these images is the mean of 16 binary ones.
DIGITS = {"latent_dim": 10, "itr": 50, "batch_size": 100, "KL_param": 1 / 16}
TUTORIAL = {"latent_dim": 18, "itr": 200, "batch_size": 500}


def simulate_speech(labels, seed=0, num_units=100, length=40, steadiness=4.0):
    """Histograms of sound units (N, num_units), one utterance a row.

    Args:
        labels: Digit of each utterance (N,).
        seed: Integer.
        num_units: Kinds of sounds.
        length: Sounds in an utterance.
        steadiness: How alike utterances of one digit are: the less, the more each repeats itself.
    """
    rng = np.random.default_rng(seed)
    digits = rng.dirichlet(np.full(num_units, 0.15), NUM_CLASSES) + 1e-3
    utterances = np.array([rng.dirichlet(steadiness * digits[label]) for label in labels])
    return rng.multinomial(length, utterances)


def learn(images, speech, labels, settings, rounds, seed, backward=True):
    """One run.

    Args:
        images: (N, D), values from 0 to 1.
        speech: Histograms (N, V).
        labels: (N,), to score.
        settings: Arguments of `vae.VAE`.
        rounds: Number of rounds.
        seed: Integer.
        backward: Whether messages come back down.

    Returns:
        The graph.
    """
    srk.Module.reset_names()
    image_obs = srk.Observation(images, name="image")
    speech_obs = srk.Observation(speech, name="speech")
    vae1 = vae.VAE(**settings, save_dir=None)
    gmm1 = gmm.GMM(NUM_CLASSES, category=labels, save_dir=None)
    mlda1 = mlda.MLDA(NUM_CLASSES, weights=[200, 200], category=labels, save_dir=None)

    vae1.connect(image_obs)
    gmm1.connect(vae1, backward=backward)
    mlda1.connect(speech_obs, gmm1, backward=backward)
    graph = srk.Graph(mlda1, seed=seed)

    print(f"\nSeed {seed}" + ("" if backward else ", nothing sent back"))
    print("round   GMM by itself   GMM with all it hears   MLDA")
    for number in range(1, rounds + 1):
        figures = graph.fit(rounds=1, verbose=0).history
        itself = np.asarray(gmm1.get_forward_msg()).argmax(axis=1)
        alone = metrics.clustering_accuracy(labels, itself)
        heard, joint = figures["gmm/accuracy"][-1], figures["mlda/accuracy"][-1]
        print(f"{number:>5}{alone:>16.3f}{heard:>24.3f}{joint:>7.3f}", flush=True)
    return graph


def sort_speech_alone(speech, labels, seed):
    """Accuracy of an MLDA that has the sounds and no images."""
    model = srk.MultimodalLDA(NUM_CLASSES, seed=seed)
    model.fit(speech, verbose=0)
    return metrics.clustering_accuracy(labels, model.predict(speech).argmax(axis=1))


def main(argv=None):
    """Runs the tutorial.

    Args:
        argv: Command line arguments; None takes those of the process.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="Serket's tutorial data: an .npz file or a folder")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--one-way", action="store_true", help="send nothing back")
    parser.add_argument("--quick", action="store_true", help="little training: does it run?")
    args = parser.parse_args(argv)

    if args.data:
        images, speech, labels = srk.datasets.load_serket_tutorial(args.data)
        settings, source = TUTORIAL, "Serket's tutorial"
    else:
        images, labels = srk.datasets.load_digits()
        speech = simulate_speech(labels)
        settings, source = DIGITS, "scikit-learn's digits, sounds simulated"
    if args.quick:
        settings, args.seeds, args.rounds = settings | {"itr": 3}, args.seeds[:1], 2
    print(f"{len(images):,} images and {len(speech):,} histograms of sounds: {source}")
    for seed in args.seeds:
        graph = learn(images, speech, labels, settings, args.rounds, seed, not args.one_way)
        print(f"MLDA of the sounds alone: {sort_speech_alone(speech, labels, seed):.3f}")

    heard = graph.predict({"image": None, "speech": speech}, outputs="mlda").argmax(axis=1)
    seen = graph.predict({"image": images, "speech": None}, outputs="mlda").argmax(axis=1)
    print("\nThe last graph, given one of the two and not the other:")
    print(f"  sounds only {metrics.clustering_accuracy(labels, heard):.3f}")
    print(f"  images only {metrics.clustering_accuracy(labels, seen):.3f}")


if __name__ == "__main__":
    main()
