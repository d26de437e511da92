"""The smallest graph: six things, described in words, sorted into three kinds.

Serket's first example. Each row counts how often three words were said of a thing. A multimodal
LDA sorts the rows into topics. The words alone leave the sixth thing open: of its four words two
are those of the first kind, one that of its own. Then every thing is also felt: a second
modality, three counts again, made up for this script. Both together sort all six.

    python examples/getting_started.py

Labels score, and nothing else reads them.
"""

import argparse

import numpy as np

import kserket as srk
from kserket import mlda

WORDS = [[10, 2, 1], [8, 1, 1], [2, 7, 0], [1, 11, 2], [1, 1, 8], [2, 1, 1]]
TOUCH = [[6, 1, 0], [5, 0, 1], [1, 7, 1], [0, 5, 1], [1, 0, 6], [0, 1, 7]]
LABELS = [0, 0, 1, 1, 2, 2]


def sort(seed, **modalities):
    """A graph of one MLDA over an observation for each modality, learned in one round."""
    srk.Module.reset_names()
    observations = [srk.Observation(counts, name=name) for name, counts in modalities.items()]
    mlda1 = mlda.MLDA(3, category=LABELS, save_dir=None)
    mlda1.connect(*observations)
    graph = srk.Graph(mlda1, seed=seed)
    graph.fit(rounds=1, verbose=0)

    print(f"\n{' and '.join(modalities)}: accuracy {mlda1.logs['accuracy']:.2f}")
    for counts, label, belief in zip(
        np.hstack(list(modalities.values())), LABELS, mlda1.posterior, strict=True
    ):
        print(f"  {counts}, label {label}: topic {belief.argmax()} ({belief.max():.0%})")
    return graph


def main(argv=None):
    """Runs the example.

    Args:
        argv: Command line arguments; None takes those of the process.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="as every example has it")
    args = parser.parse_args(argv)

    sort(args.seed, words=WORDS)
    graph = sort(args.seed, words=WORDS, touch=TOUCH)

    (felt,) = graph.predict({"words": [[0, 1, 5]], "touch": None}, outputs="touch")
    print(f"\nSomething is called [0 1 5]. How will it feel? {felt.round(2)}")


if __name__ == "__main__":
    main()
