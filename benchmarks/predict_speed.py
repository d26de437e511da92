"""Latency of `Graph.predict` beside that of the served signature, for graphs of the library.

    python benchmarks/predict_speed.py [--graphs gmm vae mlda mm] [--repeats 30] [--seed 0]

Digits of 64 pixels. The device is named, and then for each graph: milliseconds of predict and of
the signature `classify` for one row and for all, smallest of the repeats, taken in turns so that
other load meets both; their ratios; seconds of the first call; the largest difference of a
probability; whether another `fit` is answered by the same compiled function.
"""

import argparse
import tempfile
import time
import warnings

import kserket as srk  # first, so that TensorFlow prints no start-up lines

# isort: split
import numpy as np
import tensorflow as tf
from machine import device

from kserket import gmm, mlda, mm, vae


def build(kind, x, words, seed):
    """A fitted graph, and its data by name."""
    images = srk.Observation(x, name="images")
    data = {"images": x}
    top = gmm.GMM(10, itr=20, n_init=2, save_dir=None)
    if kind == "gmm":
        top.connect(images)
    else:
        vae1 = vae.VAE(10, itr=5, batch_size=100, KL_param=1 / 16, save_dir=None)
        vae1.connect(images)
        top.connect(vae1)
    if kind == "mlda":
        below, top = top, mlda.MLDA(10, itr=20, n_init=2, save_dir=None)
        top.connect(below, srk.Observation(words, name="words"))
        data["words"] = words
    if kind == "mm":
        below, top = top, mm.MarkovModel(itr=20, n_init=2, save_dir=None)
        top.connect(below)
    graph = srk.Graph(top, seed=seed)
    graph.fit(2, verbose=0)
    return graph, data


def in_turns(first, second, repeats):
    """Smallest milliseconds of two functions."""
    best = [np.inf, np.inf]
    for _ in range(repeats):
        for index, function in enumerate((first, second)):
            start = time.perf_counter()
            function()
            best[index] = min(best[index], 1e3 * (time.perf_counter() - start))
    return best


def measure(kind, x, words, repeats, seed):
    """Prints the line of a graph."""
    graph, data = build(kind, x, words, seed)
    start = time.perf_counter()
    graph.predict({name: part[:1] for name, part in data.items()})
    line = f"{kind:5} first call {time.perf_counter() - start:5.2f} s"
    program, difference = graph.program, 0.0
    with tempfile.TemporaryDirectory() as folder:
        graph.export(folder)
        loaded = tf.saved_model.load(folder)
        classify, top = loaded.signatures["classify"], graph.names[graph.tops[0]]
        for rows in (1, len(x)):
            part = {name: array[:rows] for name, array in data.items()}

            def serve(part=part):
                inputs = {name: tf.constant(array, tf.float32) for name, array in part.items()}
                return classify(**inputs)[top].numpy()

            def predict(part=part):
                return graph.predict(part)

            difference = max(difference, np.abs(predict() - serve()).max())
            mine, served = in_turns(predict, serve, repeats)
            line += f"   {rows:5} rows {mine:7.2f} / {served:6.2f} ms = {mine / served:4.2f}"
    graph.fit(1, verbose=0)
    graph.predict(data)
    kept = "kept" if graph.program is program else "traced again"
    print(f"{line}   differ by {difference:.0e}; {kept} after fit", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    kinds = ["gmm", "vae", "mlda", "mm"]
    parser.add_argument("--graphs", nargs="+", default=kinds, choices=kinds)
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    print(device())
    x = srk.datasets.load_digits()[0]
    words = np.random.default_rng(options.seed).poisson(1.0, (len(x), 20)).astype("float32")
    for kind in options.graphs:
        measure(kind, x, words, options.repeats, options.seed)


if __name__ == "__main__":
    main()
