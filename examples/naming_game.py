"""Two agents agree on names for what they see, and neither sees what the other one does.

Five kinds of things lie on a table. Anna cannot tell the first two apart, Ben not the last two.
Each sorts what it sees by a mixture of its own, proposes names, and accepts or rejects the names of
the other. Nothing but names passes between them, and still the names tell all five kinds apart.

    python examples/naming_game.py
    python examples/naming_game.py --protocol accept_all
    python examples/naming_game.py --pictures .
"""

import argparse

import numpy as np

import kserket as srk
from kserket import gmm, metrics, tt

SEEN_BY_ANNA = np.array([[0, 0], [0.8, 0.4], [6, 6], [-6, 6], [6, -6]])
SEEN_BY_BEN = np.array([[0, 0], [6, 6], [-6, 6], [6, -6], [6.8, -5.6]])


def things(num_things, seed):
    """What both agents see of each thing, (N, 2) each, and its kind (N,)."""
    rng = np.random.default_rng(seed)
    kinds = np.arange(num_things) % 5
    noise = rng.normal(size=(2, num_things, 2))
    return SEEN_BY_ANNA[kinds] + noise[0], SEEN_BY_BEN[kinds] + noise[1], kinds


def make_graph(seen_by_anna, seen_by_ben, kinds, protocol, seed):
    """Two mixtures under a naming game.

    Args:
        seen_by_anna: Array (N, D).
        seen_by_ben: Array (N, D).
        kinds: Labels (N,), which only score.
        protocol: As in `tt.NamingGame`.
        seed: Integer.

    Returns:
        A `Graph`.
    """
    naming = tt.NamingGame(itr=5, protocol=protocol, category=kinds, save_dir=None)
    anna, ben = (
        gmm.GMM(5, itr=1, name=name, category=kinds, save_dir=None) for name in ("anna", "ben")
    )
    anna.connect(srk.Observation(seen_by_anna, name="seen_by_anna", allow_missing=True))
    ben.connect(srk.Observation(seen_by_ben, name="seen_by_ben", allow_missing=True))
    naming.connect(anna, ben)
    return srk.Graph(naming, seed=seed)


def draw(graph, views, folder):
    """Writes how the game went, signs against each agent's classes, and what agents see by sign.

    Args:
        graph: The graph after `fit`.
        views: Dict from an agent's name to what it sees, (N, 2).
        folder: Path of a folder that exists.
    """
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    from kserket import plotting

    figures = ["sign_ari", "anna_ari", "ben_ari", "agreement", "own_agreement", "acceptance"]
    axes = plotting.plot_history(graph, metrics=figures)
    axes[0].figure.savefig(f"{folder}/naming_game_history.png")
    axes = plotting.plot_signs(graph)
    axes[0].figure.savefig(f"{folder}/naming_game_signs.png")
    figure, axes = pyplot.subplots(1, len(views), figsize=(10, 4), layout="constrained")
    for ax, (name, view) in zip(axes, views.items(), strict=True):
        title = f"What {name} sees, by sign"
        plotting.plot_latent(view, graph["naming"].signs, title=title, ax=ax)
    figure.savefig(f"{folder}/naming_game_views.png")


def main(argv=None):
    """Plays, and names things that one agent alone sees.

    Args:
        argv: Command line arguments; None takes those of the process.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--protocol", default="metropolis")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pictures", help="folder to draw pictures into")
    parser.add_argument("--quick", action="store_true", help="few rounds: does it run?")
    args = parser.parse_args(argv)

    anna, ben, kinds = things(200 if args.quick else 1000, args.seed)
    graph = make_graph(anna, ben, kinds, args.protocol, args.seed)
    history = graph.fit(rounds=2 if args.quick else args.rounds, verbose=0).history
    if args.pictures:
        draw(graph, {"anna": anna, "ben": ben}, args.pictures)

    print(f"{len(kinds)} things, protocol {args.protocol}")
    print("round  names (ARI)  Anna alone  Ben alone  accepted  agree by themselves")
    figures = ("sign_ari", "anna_ari", "ben_ari", "acceptance", "own_agreement")
    columns = [history[f"naming/{name}"] for name in figures]
    last = len(columns[0]) - 1
    for index in sorted({0, 1, 4, 9, 19, last} & set(range(last + 1))):
        signs, first, second, accepted, own = (column[index] for column in columns)
        row = f"{index + 1:5d}  {signs:11.3f}  {first:10.3f}  {second:9.3f}"
        print(f"{row}  {accepted:8.2f}  {own:19.2f}")

    new_anna, new_ben, new_kinds = things(500, args.seed + 1)
    both = graph.predict({"seen_by_anna": new_anna, "seen_by_ben": new_ben})
    alone = graph.predict({"seen_by_anna": new_anna})
    for who, names in (("both see", both), ("Anna alone sees", alone)):
        score = metrics.adjusted_rand_index(new_kinds, names.argmax(axis=1))
        print(f"New things that {who}: ARI {score:.3f}")


if __name__ == "__main__":
    main()
