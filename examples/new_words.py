"""A robot that meets new words: its vocabulary grows while it learns.

In every room the robot sees and touches some things, and a person says what they are called. What
it meets is collected by two buffers; a topic model above sorts all of it. Words that were never
heard before are new columns: they start at the prior, and what was learned stays. At the end the
robot names things that it only sees.

    python examples/new_words.py
"""

import argparse

import numpy as np

import kserket as srk
from kserket import metrics, mlda, utils

NAMES = "cup", "ball", "book", "shoe"
ROOMS = 2, 3, 4, 4  # how many of the names are known there


def meet(num_things, num_names, rng):
    """Things of all four kinds in one room: features counted by sight, words heard, and kinds.

    Args:
        num_things: How many things.
        num_names: How many kinds the person names; of others it says nothing.
        rng: `numpy.random.Generator`.
    """
    kinds = rng.permutation(np.arange(num_things) % len(NAMES))
    sight = rng.poisson(0.5 + 4.0 * np.eye(len(NAMES))[kinds].repeat(3, axis=1))
    heard = rng.poisson(3.0 * np.eye(len(NAMES))[kinds])[:, :num_names]
    return sight, heard, kinds


def main(argv=None):
    """Walks through the rooms, then names what is only seen.

    Args:
        argv: Command line arguments; None takes those of the process.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="few things: does it run?")
    args = parser.parse_args(argv)
    rng = np.random.default_rng(args.seed)
    num_things = 16 if args.quick else 40

    sight, heard, kinds = meet(num_things, ROOMS[0], rng)
    seen, said = srk.Observation(sight, name="seen"), srk.Observation(heard, name="said")
    memory1, memory2 = utils.Buffer(name="sights"), utils.Buffer(name="words")
    concepts = mlda.MLDA(len(NAMES), name="concepts", save_dir=None)
    memory1.connect(seen)
    memory2.connect(said)
    concepts.connect(memory1, memory2)
    graph = srk.Graph(concepts, seed=args.seed)

    met = []
    for room, num_names in enumerate(ROOMS):
        if room > 0:
            sight, heard, kinds = meet(num_things, num_names, rng)
            seen.set_data(sight)
            said.set_data(heard)
        graph.fit(rounds=1, verbose=0)
        met.extend(kinds)
        classes = concepts.posterior.argmax(axis=1)
        accuracy = metrics.clustering_accuracy(met, classes)
        print(f"Room {room + 1}: {len(met)} things, {num_names} words, accuracy {accuracy:.3f}")

    sight, _, kinds = meet(num_things, len(NAMES), rng)
    words = graph.predict({"seen": sight}, outputs="said").argmax(axis=1)
    right = np.mean(words == kinds)
    print(f"Of {num_things} things that it only sees, the robot names {right:.0%} rightly.")
    print(f"The first is called a {NAMES[words[0]]}, and is a {NAMES[kinds[0]]}.")


if __name__ == "__main__":
    main()
