"""The smallest graph: six things, described in words, sorted into three kinds.

Serket's first example. Each row counts how often three words were said of a thing. A multimodal
LDA sorts the rows into topics. The words alone leave the sixth thing open: of its four words two
are those of the first kind, one that of its own. Then every thing is also felt: a second
modality, three counts again, made up for this script. Both together sort all six.

With --data the things are yours: an .npz with the counts `words` (N, V), the `labels` (N,), and, if
there is a second modality, `touch` (N, W).

    python examples/getting_started.py
    python examples/getting_started.py --data things.npz

Labels score, and nothing else reads them.
"""

import argparse

import numpy as np

import kserket as srk
from kserket import mlda

# Serket's six rows, and how these things feel.
WORDS = [[10, 2, 1], [8, 1, 1], [2, 7, 0], [1, 11, 2], [1, 1, 8], [2, 1, 1]]
TOUCH = [[6, 1, 0], [5, 0, 1], [1, 7, 1], [0, 5, 1], [1, 0, 6], [0, 1, 7]]
LABELS = [0, 0, 1, 1, 2, 2]
MOST_ROWS = 6  # shown


def sort(modalities, labels, seed):
    """A graph of one MLDA over an observation for each modality, learned in one round."""
    srk.Module.reset_names()
    observations = [srk.Observation(counts, name=name) for name, counts in modalities.items()]
    mlda1 = mlda.MLDA(len(np.unique(labels)), category=labels, save_dir=None)
    mlda1.connect(*observations)
    graph = srk.Graph(mlda1, seed=seed)
    graph.fit(rounds=1, verbose=0)

    print(f"\n{' and '.join(modalities)}: accuracy {mlda1.logs['accuracy']:.2f}")
    counts = np.hstack(list(modalities.values()))
    for row, label, belief in list(zip(counts, labels, mlda1.posterior, strict=True))[:MOST_ROWS]:
        print(f"  {row}, label {label}: topic {belief.argmax()} ({belief.max():.0%})")
    return graph


def load(path):
    """Modalities by name, and labels; from an .npz."""
    with np.load(path, allow_pickle=False) as archive:
        modalities = {name: archive[name] for name in ("words", "touch") if name in archive}
        return modalities, archive["labels"]


def main(argv=None):
    """Runs the example.

    Args:
        argv: Command line arguments; None takes those of the process.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="counts and labels of your own, an .npz file")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="as every example has it")
    args = parser.parse_args(argv)

    modalities, labels = {"words": WORDS, "touch": TOUCH}, LABELS
    source = "Serket's six rows, and a second modality made up"
    if args.data:
        (modalities, labels), source = load(args.data), args.data
    print(f"{len(labels)} things: {source}")
    sort({"words": modalities["words"]}, labels, args.seed)
    if len(modalities) == 1:
        return
    graph = sort(modalities, labels, args.seed)
    if args.data:
        return

    (felt,) = graph.predict({"words": [[0, 1, 5]], "touch": None}, outputs="touch")
    print(f"\nSomething is called [0 1 5]. How will it feel? {felt.round(2)}")


if __name__ == "__main__":
    main()
