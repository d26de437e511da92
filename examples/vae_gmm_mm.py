"""VAE + GMM + Markov model: digits that come in an order, sorted without labels.

A variational autoencoder compresses each image, a Gaussian mixture sorts the codes into ten
classes, and a Markov model learns in which order the classes come. It tells the mixture what the
other images say of each one's class; the mixture takes that as the class prior, and tells the
autoencoder where its class lies. The order is strong evidence: it separates digits that the
mixture took for one, and joins what it took for two.

The default data are scikit-learn's handwritten digits, ARRANGED here as Serket's tutorial has
them: 0, 1, ..., 9, 0, 1, ... The images are real, their order is made. Labels arrange the default
data and score; nothing that learns sees them.

    python examples/vae_gmm_mm.py                        # 1,740 digits of scikit-learn
    python examples/vae_gmm_mm.py --data tutorial.npz    # Serket's own 3,000, in their own order

Reference: T. Nakamura, T. Nagai and T. Taniguchi, "SERKET: An Architecture for Connecting
Stochastic Models to Realize a Large-Scale Cognitive Model", Frontiers in Neurorobotics 12:25, 2018.
"""

import argparse

import numpy as np

import kserket as srk
from kserket import gmm, metrics, mm, vae

NUM_CLASSES = 10
# As in vae_gmm.py: a pixel of these images is the mean of 16 binary ones.
DIGITS = {"latent_dim": 10, "itr": 50, "batch_size": 100, "KL_param": 1 / 16}
TUTORIAL = {
    **{"latent_dim": 18, "itr": 200, "batch_size": 500},
    **{"hidden_encoder_dim": 128, "hidden_decoder_dim": 128},
}


def in_cyclic_order(x, labels):
    """As many of each digit as the rarest has, in the order 0, 1, ..., 9, 0, 1, ..."""
    rows = [np.flatnonzero(labels == digit) for digit in range(NUM_CLASSES)]
    shortest = min(len(part) for part in rows)
    order = np.stack([part[:shortest] for part in rows], axis=1).ravel()
    return x[order], labels[order]


def learn(x, labels, settings, rounds, seed, backward=True):
    """One run.

    Args:
        x: Images (N, D), values from 0 to 1, one after another in time.
        labels: What they show (N,), to score.
        settings: Arguments of `vae.VAE`.
        rounds: Number of rounds.
        seed: Integer.
        backward: Whether messages come back down.

    Returns:
        The graph.
    """
    srk.Module.reset_names()
    obs = srk.Observation(x)
    vae1 = vae.VAE(**settings, save_dir=None)
    gmm1 = gmm.GMM(NUM_CLASSES, category=labels, save_dir=None)
    mm1 = mm.MarkovModel(category=labels, save_dir=None)

    vae1.connect(obs)
    gmm1.connect(vae1, backward=backward)
    mm1.connect(gmm1, backward=backward)
    graph = srk.Graph(mm1, seed=seed)

    print(f"\nSeed {seed}" + ("" if backward else ", nothing sent back"))
    print("round   GMM by itself   GMM with all it hears   Markov model")
    for number in range(1, rounds + 1):
        figures = graph.fit(rounds=1, verbose=0).history
        itself = np.asarray(gmm1.get_forward_msg()).argmax(axis=1)
        alone = metrics.clustering_accuracy(labels, itself)
        heard, chain = figures["gmm/accuracy"][-1], figures["mm/accuracy"][-1]
        print(f"{number:>5}{alone:>16.3f}{heard:>24.3f}{chain:>15.3f}", flush=True)
    return graph


def describe(graph):
    """Prints what follows what, classes named after the digits that they hold."""
    mm1 = graph["mm"]
    _, digit_of = metrics.match_labels(mm1.labels, mm1.posterior.argmax(axis=1))
    transitions = mm1.model.transition_matrix
    print("\nWhat the Markov model learned of the order:")
    for k in sorted(digit_of, key=digit_of.get):
        following = transitions[k].argmax()
        share = transitions[k, following]
        print(f"  {digit_of[k]} is followed by {digit_of.get(following, '?')} ({share:.0%})")


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
        x, _, labels = srk.datasets.load_serket_tutorial(args.data)
        settings, source = TUTORIAL, "Serket's tutorial"
    else:
        x, labels = in_cyclic_order(*srk.datasets.load_digits())
        settings, source = DIGITS, "scikit-learn's digits, arranged 0, 1, ..., 9, 0, 1, ..."
    if args.quick:
        settings, args.seeds, args.rounds = settings | {"itr": 3}, args.seeds[:1], 2
    print(f"{len(x):,} images of {x.shape[1]} pixels: {source}")
    for seed in args.seeds:
        graph = learn(x, labels, settings, args.rounds, seed, backward=not args.one_way)
    describe(graph)


if __name__ == "__main__":
    main()
