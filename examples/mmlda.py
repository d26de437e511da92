"""mMLDA: things and movements, sorted apart, and together into what is being done.

Three senses under two topic models under one. A robot handles things. One multimodal LDA sorts what
it sees and touches into things; another sorts its joint angles into movements; a third reads the
classes of both and finds the actions: pouring from a cup is not drinking from it. The action tells
each of the two below what the other knows: what is thrown is rather a ball.

The default data are SIMULATED: histograms of visual features, of touch, and of joint angles, as
short and repetitive as real ones. With --data they are yours: an .npz with the histograms `vision`,
`touch` and `joints` (N, V) and the labels `thing`, `movement` and `action` (N,). Labels make the
default data and score; nothing that learns sees them.

    python examples/mmlda.py
    python examples/mmlda.py --data robot.npz
    python examples/mmlda.py --one-way      # the same, nothing sent back

Reference: M. Attamimi, M. Fadlil, K. Abe, T. Nakamura, K. Funakoshi and T. Nagai, "Integration of
various concepts and grounding of word meanings using multi-layered multimodal LDA for sentence
generation", IROS 2014.
"""

import argparse

import numpy as np

import kserket as srk
from kserket import metrics, mlda

THINGS = ("cup", "bottle", "ball", "block", "box", "basket")
MOVEMENTS = ("lift", "tilt", "throw", "stack", "push", "pull")
SENSES, CONCEPTS = ("vision", "touch", "joints"), ("thing", "movement", "action")
ACTIONS = {  # what is handled, and how: any of the things in any of the ways
    "drink": (("cup", "bottle"), ("lift", "tilt")),
    "play": (("ball", "block"), ("throw", "stack")),
    "tidy up": (("box", "basket"), ("push", "pull")),
}


def simulate(num_samples, seed):
    """Histograms by sense, and labels by what they label."""
    rng = np.random.default_rng(seed)
    actions = rng.integers(len(ACTIONS), size=num_samples)
    choices = [list(ACTIONS.values())[action] for action in actions]
    things = np.array([THINGS.index(rng.choice(some)) for some, _ in choices])
    movements = np.array([MOVEMENTS.index(rng.choice(some)) for _, some in choices])

    def feel(classes, num_words, length, steadiness):
        topics = rng.dirichlet(np.full(num_words, 0.5), classes.max() + 1) + 1e-3
        each = np.array([rng.dirichlet(steadiness * topics[k]) for k in classes])
        return rng.multinomial(length, each)

    senses = {
        "vision": feel(things, 50, 30, 4.0),
        "touch": feel(things, 15, 10, 2.0),
        "joints": feel(movements, 70, 60, 20.0),
    }
    return senses, {"thing": things, "movement": movements, "action": actions}


def load(path):
    """Histograms by sense, and labels, counted from 0, by what they label; from an .npz."""
    with np.load(path, allow_pickle=False) as archive:
        senses = {name: archive[name] for name in SENSES}
        labels = {name: np.unique(archive[name], return_inverse=True)[1] for name in CONCEPTS}
    return senses, labels


def compose(senses, labels, backward=True):
    """The three modules over the three senses, as a graph from its top."""
    srk.Module.reset_names()
    obs = {name: srk.Observation(counts, name=name) for name, counts in senses.items()}
    modules = {
        name: mlda.MLDA(labels[name].max() + 1, name=name, category=labels[name], save_dir=None)
        for name in CONCEPTS
    }
    modules["thing"].connect(obs["vision"], obs["touch"])
    modules["movement"].connect(obs["joints"])
    modules["action"].connect(modules["thing"], modules["movement"], backward=backward)
    return modules


def main(argv=None):
    """Runs the example.

    Args:
        argv: Command line arguments; None takes those of the process.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="histograms and labels of your own, an .npz file")
    parser.add_argument("--num-samples", type=int, default=600)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--one-way", action="store_true", help="send nothing back")
    parser.add_argument("--quick", action="store_true", help="little training: does it run?")
    args = parser.parse_args(argv)
    if args.quick:
        args.num_samples, args.seeds, args.rounds = 120, args.seeds[:1], 2

    if args.data:
        senses, labels = load(args.data)
        args.num_samples = len(labels["action"])
    print(f"{args.num_samples} actions, three senses each: {args.data or 'simulated'}")
    print("seed  round   thing  movement  action   (accuracy)")
    for seed in args.seeds:
        if not args.data:
            senses, labels = simulate(args.num_samples, seed)
        modules = compose(senses, labels, backward=not args.one_way)
        graph = srk.Graph(modules["action"], seed=seed)
        for number in range(1, args.rounds + 1):
            figures = graph.fit(rounds=1, verbose=0).history
            scores = [figures[f"{name}/accuracy"][-1] for name in CONCEPTS]
            print("{:>4}{:>7}{:>8.3f}{:>10.3f}{:>8.3f}".format(seed, number, *scores), flush=True)

    parts = {
        "all three senses": senses,
        "vision and joints": senses | {"touch": None},
        "joints only": {"vision": None, "touch": None, "joints": senses["joints"]},
    }
    print("\nThe last graph, given")
    for text, given in parts.items():
        found = graph.predict(given, outputs=["thing", "action"])
        scores = {
            name: metrics.clustering_accuracy(labels[name], probs.argmax(axis=1))
            for name, probs in found.items()
        }
        print(f"  {text:<18} thing {scores['thing']:.3f}  action {scores['action']:.3f}")

    felt = graph.predict(parts["joints only"], outputs="touch")
    observed = senses["touch"] / senses["touch"].sum(axis=1, keepdims=True)
    print("\nHow it will feel, foretold from joint angles alone: correlation with how it felt")
    print(f"  {np.corrcoef(felt.ravel(), observed.ravel())[0, 1]:.2f}", end=", and ")
    mean = np.broadcast_to(observed.mean(axis=0), observed.shape)
    print(f"{np.corrcoef(mean.ravel(), observed.ravel())[0, 1]:.2f} of how things feel on average")


if __name__ == "__main__":
    main()
