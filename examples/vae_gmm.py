"""VAE + GMM: handwritten digits sorted into ten classes, without labels.

A variational autoencoder compresses each image to a few numbers z; a Gaussian mixture sorts the z
into ten classes, and tells the autoencoder where each image's class lies. That place becomes the
prior of z when the autoencoder learns on: a few rounds of this are one model that learns together.

Labels are read by the scores that are printed, and by nothing else.

    python examples/vae_gmm.py                          # scikit-learn's digits, no network needed
    python examples/vae_gmm.py --data tutorial.npz      # Serket's own 3,000 MNIST images

Reference: T. Nakamura, T. Nagai and T. Taniguchi, "SERKET: An Architecture for Connecting
Stochastic Models to Realize a Large-Scale Cognitive Model", Frontiers in Neurorobotics 12:25, 2018.
"""

import argparse
import pathlib

import matplotlib
import numpy as np

import kserket as srk
from kserket import gmm, metrics, plotting, vae

NUM_CLASSES = 10
COLUMNS = {
    "accuracy": "gmm/accuracy",
    "NMI": "gmm/nmi",
    "ARI": "gmm/ari",
    "-log p(x|z)": "vae/reconstruction",
    "KL": "vae/kl",
}
CURVES = ("vae/loss", *COLUMNS.values(), "vae/message_change", "gmm/message_change")

# A pixel of these 8 x 8 images counts the black dots among the 4 x 4 of the original scan: 16 dots,
# each with a cross entropy of its own. The bound divided by 16 has 1/16 of the KL divergence.
DIGITS = {"latent_dim": 10, "itr": 50, "batch_size": 100, "KL_param": 1 / 16}
# What Serket's tutorial has.
TUTORIAL = {"latent_dim": 18, "itr": 200, "batch_size": 500, "KL_param": 1}


def learn(x, labels, settings, rounds, seed, backward=True, save_dir=None):
    """One run.

    Args:
        x: Images (N, D), values from 0 to 1.
        labels: What they show (N,), to score.
        settings: Arguments of `vae.VAE`.
        rounds: Number of rounds.
        seed: Integer.
        backward: Whether the mixture sends messages back to the autoencoder.
        save_dir: Where the modules write their result files; None writes none.

    Returns:
        The graph, and each round's latent variables with the mixture that came back for them.
    """
    srk.Module.reset_names()
    obs = srk.Observation(x)
    vae1 = vae.VAE(**settings, save_dir=save_dir)
    gmm1 = gmm.GMM(NUM_CLASSES, category=labels, save_dir=save_dir)

    vae1.connect(obs)
    gmm1.connect(vae1, backward=backward)
    graph = srk.Graph(gmm1, seed=seed)

    print(f"\nSeed {seed}")
    print_row("round", *COLUMNS)
    latents = []
    for number in range(1, rounds + 1):
        figures = graph.fit(rounds=1, verbose=0).history  # goes on from where the graph is
        print_row(number, *(figures[name][-1] for name in COLUMNS.values()))
        latents.append((vae1.get_forward_msg(), vae1.get_backward_msg()))
    return graph, latents


def report(histories, x, labels):
    """Prints mean and standard deviation over the seeds, and how a plain method does.

    Args:
        histories: Each run's dict from figure to one value per round.
        x: Images (N, D).
        labels: What they show (N,).
    """
    from sklearn.cluster import KMeans

    if len(histories) > 1:
        print(f"\nMean and standard deviation over {len(histories)} seeds")
        print_row("round", *COLUMNS, width=18)
        runs = np.array([[history[name] for name in COLUMNS.values()] for history in histories])
        for number in range(runs.shape[2]):
            pairs = zip(runs.mean(axis=0)[:, number], runs.std(axis=0)[:, number], strict=True)
            print_row(number + 1, *(f"{mean:.3f} +- {std:.3f}" for mean, std in pairs), width=18)
    clusters = KMeans(NUM_CLASSES, n_init=10, random_state=0).fit_predict(x)
    print("\nFor comparison, k-means on the pixels")
    print_row("", *metrics.clustering_scores(labels, clusters).values())


def print_row(first, *cells, width=12):
    """One line of a table."""
    texts = [f"{cell:.3f}" if isinstance(cell, float) else cell for cell in cells]
    print(f"{first:>5}" + "".join(f"{text:>{width}}" for text in texts), flush=True)


def draw(graph, latents, folder):
    """Writes the pictures of one run.

    Args:
        graph: The graph, after `fit`.
        latents: Each round's, as `learn` returns them.
        folder: Where.
    """
    vae1, gmm1 = graph["vae"], graph["gmm"]
    _, digit_of = metrics.match_labels(gmm1.labels, gmm1.posterior.argmax(axis=1))
    classes = sorted(digit_of, key=digit_of.get)
    means = vae1.model.decode(gmm1.model.means[classes])[:, None]
    samples = [graph.generate(10, component=k, seed=k) for k in classes]
    images = np.concatenate([means, samples], axis=1)

    def draw_latents(axes):
        titles = "Latent space before any message", f"and after {graph.round} rounds of messages"
        for ax, title, (z, mixture) in zip(axes, titles, (latents[0], latents[-1]), strict=True):
            found = np.unique(mixture.responsibilities.argmax(axis=1))
            plotting.plot_latent(
                z,
                mixture.responsibilities,
                means=mixture.means,
                covariances=mixture.covariances,
                names=[digit_of.get(k, "?") for k in found],
                title=title,
                ax=ax,
            )

    figure, axes = new_figure(11.5, 5.2, widths=(1, 1))
    draw_latents(axes)
    save(figure, folder / "latents.png")

    title = "Digits, and what the VAE makes of them"
    ax = plotting.plot_reconstructions(graph, num_images=16, title=title)
    save(ax.figure, folder / "reconstructions.png")

    title = "Each class: its mean, then ten draws"
    names = [f"{digit_of[k]} (class {k})" for k in classes]
    ax = plotting.plot_generated(images, names=names, title=title)
    save(ax.figure, folder / "classes.png")

    history = graph.history.history
    axes = plotting.plot_history({name: history[name] for name in CURVES})
    save(axes[0].figure, folder / "rounds.png")

    ax = plotting.plot_confusion(graph)
    save(ax.figure, folder / "confusion.png")

    figure, axes = new_figure(13, 4.6, widths=(1, 1, 0.72))
    draw_latents(axes[:2])
    names = [digit_of[k] for k in classes]
    title = "What its ten classes look like"
    plotting.plot_generated(images[:, :6], names=names, title=title, ax=axes[2])
    save(figure, folder / "overview.png", dpi=110)


def new_figure(width, height, widths):
    """A figure with one row of Axes of these relative widths."""
    return matplotlib.pyplot.subplots(
        1,
        len(widths),
        figsize=(width, height),
        width_ratios=widths,
        layout="constrained",
        dpi=150,
    )


def save(figure, path, **kwargs):
    """Writes a figure and closes it."""
    figure.savefig(path, **kwargs)
    matplotlib.pyplot.close(figure)


def main(argv=None):
    """Runs the tutorial.

    Args:
        argv: Command line arguments; None takes those of the process.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="Serket's tutorial data: an .npz file or a folder")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--one-way", action="store_true", help="send nothing back; no pictures")
    parser.add_argument("--quick", action="store_true", help="little training: does it run?")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("demo"))
    args = parser.parse_args(argv)

    if args.data:
        x, _, labels = srk.datasets.load_serket_tutorial(args.data)
        settings = TUTORIAL
    else:
        x, labels = srk.datasets.load_digits()
        settings = DIGITS
    if args.quick:
        settings, args.seeds, args.rounds = settings | {"itr": 3}, args.seeds[:1], 2
    options = ", ".join(f"{name}={value:g}" for name, value in settings.items())
    print(f"{len(x):,} images of {x.shape[1]} pixels -> VAE({options}) -> GMM({NUM_CLASSES})")

    matplotlib.use("Agg")
    args.out.mkdir(parents=True, exist_ok=True)
    runs = []
    for seed in args.seeds:
        save_dir = None if runs else args.out
        runs.append(learn(x, labels, settings, args.rounds, seed, not args.one_way, save_dir))
    report([graph.history.history for graph, _ in runs], x, labels)
    if args.one_way:
        return
    draw(*runs[0], args.out)
    print(f"\nPictures and result files of seed {args.seeds[0]} are in {args.out}/")


if __name__ == "__main__":
    main()
