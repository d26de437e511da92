"""Agents that see images turned by different angles, each by a VAE and a mixture.

    python benchmarks/naming_game_images.py --path mnist.npz
    python benchmarks/naming_game_images.py --path mnist.npz --angles 0 45 90 --num-images 5000 \\
        --missing 0.4 --seeds 0 1 2
    python benchmarks/naming_game_images.py --path mnist.npz --num-images 5000 --missing 0.4 \\
        --angles 0 10 20 30 40 50 60 70 80 90 --epochs 20 --seeds 0

    python benchmarks/naming_game_images.py --path mnist.npz --combine

Every agent learns on its own first, once for each seed; its graph is saved in --folder. From there
each protocol goes on with the same agents: rounds of VAE, one sweep of the mixture, game. "none" is
the agents alone for as many rounds. Adjusted Rand index of the signs, of the product of all agents
and of what each sees by itself, on samples that they have seen; Cohen's kappa of the agents after
they heard the sign, and by themselves; the share of proposals that were accepted. With --missing
also the ARI of the signs on what an agent has seen, and on what it has not and another one has.
"everybody" is "accept_all" where agents speak of images that they have not seen, too. Labels only
score.

--combine plays no game: it compares ways to combine what the agents know before they talk. Learned
confusions are p(class | sign) of every agent and its groups, by EM from the product; by labels they
are what calibration could give at most.
"""

import argparse
import collections
import pathlib
import time

import numpy as np
from scipy.ndimage import rotate

import kserket as srk
from kserket import gmm, tt, vae
from kserket.inference import experts, naming_game
from kserket.inference.umap_clusters import group_probabilities
from kserket.metrics import adjusted_rand_index

PROTOCOLS = ("none", "metropolis", "accept_all")


class EverybodySpeaks(tt.NamingGame):
    """Agents propose a sign of every image, also of those that they have not seen."""

    def learn(self, data, rng):
        return super().learn(data._replace(seen=np.ones_like(data.seen)), rng)


def views(arguments, seed):
    """What agents see of the first images of MNIST.

    Returns:
        Dict from angle to images (N, 784), rows of NaN where an agent has not seen one; and
        labels (N,).
    """
    (images, labels), _ = srk.datasets.load_mnist(arguments.path, flatten=False)
    images, labels = images[: arguments.num_images], labels[: arguments.num_images]
    rng, seen = np.random.default_rng(seed), {}
    for angle in arguments.angles:
        turned = images if angle == 0 else rotate(images, angle, (2, 1), reshape=False, order=1)
        turned = turned.reshape(len(images), -1).copy()
        turned[rng.random(len(images)) < arguments.missing] = np.nan
        seen[angle] = turned
    return seen, labels


def train(images, angle, epochs, units, seed):
    """The graph of an agent that has learned on its own."""
    srk.Module.reset_names()
    eye = srk.Observation(images, name=f"images_{angle}", allow_missing=True)
    code = vae.VAE(
        10,
        itr=epochs,
        name=f"vae_{angle}",
        hidden_encoder_dim=units,
        hidden_decoder_dim=units,
        batch_size=100,
        learning_rate=0.001,
        save_dir=None,
    )
    mixture = gmm.GMM(
        10, itr=1, name=f"agent_{angle}", init="umap", keep_groups="alone", save_dir=None
    )
    code.connect(eye)
    mixture.connect(code)
    graph = srk.Graph(mixture, seed=seed)
    graph.fit(rounds=1, verbose=0)
    return graph


def agents(arguments, images, labels, seed):
    """Files of trained agents by angle; those that exist are taken."""
    files = {}
    for angle, seen in images.items():
        sizes = f"{arguments.num_images}_{arguments.missing}_{arguments.epochs}_{arguments.hidden}"
        files[angle] = arguments.folder / f"{sizes}_{seed}_{angle}.kserket"
        if files[angle].exists():
            continue
        start = time.process_time()
        graph = train(seen, angle, arguments.epochs, arguments.hidden, seed)
        seconds = time.process_time() - start
        ari = score(labels, graph.tops[0].posterior.argmax(axis=1), np.isfinite(seen[:, 0]))
        print(
            f"seed {seed}, {angle} degrees, alone: ARI {ari:.3f}, {seconds:.0f} CPU s", flush=True
        )
        graph.save(files[angle], include_data=False)
    return files


def play(files, images, labels, protocol, arguments, seed):
    """A game of agents that have learned.

    Returns:
        Dict from heading to figure, after the last round.
    """
    srk.Module.reset_names()
    game, rule = tt.NamingGame, protocol
    if protocol == "everybody":
        game, rule = EverybodySpeaks, "accept_all"
    naming = game(10, arguments.itr, rule, category=labels, save_dir=None)
    below = []
    for angle, file in files.items():
        graph = srk.load_graph(file, {f"images_{angle}": images[angle]})
        graph[f"vae_{angle}"].itr = arguments.more_epochs
        below.append(graph[f"agent_{angle}"])
    naming.connect(*below)
    srk.Graph(naming, seed=seed).fit(rounds=arguments.rounds, verbose=0)
    logs, signs = naming.logs, naming.signs
    seen = {angle: np.isfinite(x[:, 0]) for angle, x in images.items()}
    somebody = np.any(list(seen.values()), axis=0)
    found = {
        "signs": score(labels, signs, somebody),
        "product": score(labels, naming.posterior.argmax(axis=1), somebody),
        **{f"own {angle}": logs[f"agent_{angle}_ari"] for angle in files},
        "kappa": logs["agreement"],
        "own kappa": logs["own_agreement"],
        "accepted": logs["acceptance"],
    }
    if arguments.missing:
        for angle, looks in seen.items():
            found[f"seen {angle}"] = score(labels, signs, looks)
            found[f"not {angle}"] = score(labels, signs, somebody & ~looks)
    return found


def combine(files, images, labels):
    """Dict from a way to combine agents that have not talked to the ARI of its classes."""
    evidence, groups = [], []
    for angle, file in files.items():
        graph = srk.load_graph(file)
        probs = graph.predict({f"images_{angle}": images[angle]}, batch_size=2000)
        evidence.append(np.log(np.maximum(probs, 1e-30)))
        groups.append(graph[f"agent_{angle}"].get_state()["groups"])
    seen = np.ones(np.shape(evidence)[:2], bool)
    numbering = experts.match_classes(np.stack(evidence), seen)
    evidence = experts.numbered_alike(np.stack(evidence), numbering)
    groups = [np.argsort(order)[part] for order, part in zip(numbering, groups, strict=True)]
    held = np.log(np.stack([group_probabilities(part, 10) for part in groups]))
    observed = [*evidence.argmax(axis=2), *groups]
    total = (evidence + held).sum(axis=0)
    found = {f"mixture {angle}": part for angle, part in zip(files, evidence, strict=True)}
    found |= {f"groups {angle}": part for angle, part in zip(files, held, strict=True)}
    found |= {"product": evidence.sum(axis=0), "and groups": total}
    for _ in range(30):
        signs = np.exp(total - np.logaddexp.reduce(total, axis=1, keepdims=True))
        total = under_confusions(observed, signs)
    found["confusions"] = total
    found["by labels"] = under_confusions(observed, np.eye(10)[labels])
    return {name: adjusted_rand_index(labels, part.argmax(axis=1)) for name, part in found.items()}


def under_confusions(observed, signs):
    """log p(sign, classes observed), (N, K), under the confusions that signs (N, K) tell.

    Reference: Dawid and Skene, "Maximum likelihood estimation of observer error-rates using the EM
    algorithm", Applied Statistics 28(1), 1979.
    """
    total = np.log(signs.mean(axis=0) + 1e-9)
    for classes in observed:
        counts = signs.T @ np.eye(10)[classes] + 0.5
        total = total + np.log(counts / counts.sum(axis=1, keepdims=True))[:, classes].T
    return total


def score(labels, classes, rows):
    """Adjusted Rand index on the rows of a mask."""
    return adjusted_rand_index(labels[rows], np.asarray(classes)[rows])


def main(argv=None):
    """Prints a row for each seed and protocol, and means and standard deviations over seeds.

    Args:
        argv: Command line arguments; None takes those of the process.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--path", help="mnist.npz; by default as kserket.datasets.load_mnist")
    parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path("agents"))
    parser.add_argument("--angles", type=int, nargs="+", default=[0, 45])
    parser.add_argument("--num-images", type=int, default=10_000)
    parser.add_argument("--missing", type=float, default=0.0, help="share of rows not seen")
    parser.add_argument("--epochs", type=int, default=25, help="before the game")
    parser.add_argument("--hidden", type=int, default=150, help="units of a hidden layer")
    parser.add_argument("--more-epochs", type=int, default=3, help="in each round of it")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--itr", type=int, default=20)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--combine", action="store_true", help="no game; needs --missing 0")
    parser.add_argument(
        "--protocols",
        nargs="+",
        default=PROTOCOLS,
        choices=(*naming_game.PROTOCOLS, "everybody"),
    )
    arguments = parser.parse_args(argv)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    results = collections.defaultdict(list)
    for seed in arguments.seeds:
        images, labels = views(arguments, seed)
        files = agents(arguments, images, labels, seed)
        if arguments.combine:
            found = combine(files, images, labels)
            results["combined"].append(list(found.values()))
            continue
        for protocol in arguments.protocols:
            start = time.process_time()
            found = play(files, images, labels, protocol, arguments, seed)
            results[protocol].append(list(found.values()))
            text = "  ".join(f"{name} {value:.3f}" for name, value in found.items())
            seconds = time.process_time() - start
            print(f"seed {seed}, {protocol}: {text}, {seconds:.0f} CPU s", flush=True)
    print(" ".join(f"{name:>13}" for name in ["protocol", *found]))
    for protocol, rows in results.items():
        cells = zip(np.mean(rows, axis=0), np.std(rows, axis=0), strict=True)
        texts = [f"{mean:.3f} ± {spread:.3f}" for mean, spread in cells]
        print(" ".join(f"{text:>13}" for text in [protocol, *texts]))


if __name__ == "__main__":
    main()
