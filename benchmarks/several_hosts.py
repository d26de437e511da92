"""Seconds and bytes of learning on several hosts, which are processes of this machine here.

    python benchmarks/several_hosts.py
    python benchmarks/several_hosts.py --processes 1 2 --samples 20000

N samples are dealt out to 1, 2 and 4 processes that share this machine, so that nothing is gained:
what is seen is what an exchange costs. Measured are an epoch of Serket's VAE (latent 18, hidden
100, batches of 500), a sweep of a mixture of ten classes in 18 dimensions, one of a topic model (10
topics, 1,000 words) and one of a chain of ten states; after the first call, which compiles. Bytes
are those that the loopback device of this machine carried meanwhile (Linux), others' traffic and
TCP's own included, beside those that a ring of all hosts sends: 2 (H - 1) times what is summed. An
idle machine of as many cores as processes shows seconds best; the number of cores is printed.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np
from machine import device

from kserket import hosts

STEPS = 5  # epochs or sweeps of each kind that are measured, fewer where learning has settled


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--samples", type=int, default=10_000)
    arguments = parser.parse_args()
    print(f"{arguments.samples} samples, {device()}")
    print(f"{'':14}{'hosts':>6}{'ms':>9}{'kB':>10}{'kB of a ring':>14}{'exchanges':>11}")
    for number in arguments.processes:
        for row in measure(number, arguments.samples):
            sizes = f"{row['bytes'] / 1e3:>10.1f}{row['ring'] / 1e3:>14.1f}"
            times = f"{1000 * row['seconds']:>9.1f}"
            print(f"{row['what']:14}{number:>6}{times}{sizes}{row['exchanges']:>11.1f}", flush=True)


def measure(number, samples):
    """What the first of several processes measured: a list of dicts."""
    with tempfile.TemporaryDirectory() as folder:
        result = pathlib.Path(folder, "result.json")
        one_thread = {
            "TF_NUM_INTRAOP_THREADS": "1",
            "TF_NUM_INTEROP_THREADS": "2",
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "TF_CPP_MIN_LOG_LEVEL": "3",
        }
        command = [sys.executable, __file__, "--host", str(result), str(samples)]
        children = [
            subprocess.Popen(command, env={**os.environ, **one_thread, "TF_CONFIG": config})
            for config in hosts.local_configs(number)
        ]
        codes = [child.wait() for child in children]
        if any(codes):
            sys.exit(f"A process ended with an error: {codes}")
        return json.loads(result.read_text())


def carried():
    """Bytes that the loopback device has carried; NaN where the system does not say."""
    try:
        lines = pathlib.Path("/proc/net/dev").read_text().splitlines()
    except OSError:
        return float("nan")
    return next(int(line.split(":")[1].split()[0]) for line in lines if "lo:" in line)


def host(result, samples):
    """One process: measures every kind of learning, and writes what it took if it is the first."""
    import keras

    import kserket as srk
    from kserket import gmm, mlda, mm, vae

    strategy = srk.multi_worker_strategy()
    rng = np.random.default_rng(0)
    labels = rng.integers(10, size=samples)
    pixels = (rng.random((samples, 784)) < 0.1 + 0.05 * labels[:, None]).astype("float32")
    points = rng.normal(size=(10, 18))[labels] * 2 + rng.normal(size=(samples, 18))
    words = rng.poisson(np.where(np.arange(1000) % 10 == labels[:, None], 0.2, 0.005))
    classes = rng.dirichlet(np.ones(10), samples) * 0.5 + 0.5 * np.eye(10)[labels]

    def alone(data, module):
        obs = srk.Observation(data)
        obs.shard()
        module.connect(obs)
        return srk.Graph(module, seed=0)

    quiet = {"save_dir": None}
    with strategy.scope():
        graphs = {
            "VAE, epoch": alone(pixels, vae.VAE(18, itr=STEPS, batch_size=500, **quiet)),
            "GMM, sweep": alone(points, gmm.GMM(10, itr=STEPS, n_init=1, tolerance=None, **quiet)),
            "MLDA, sweep": alone(words, mlda.MLDA(10, itr=STEPS, n_init=1, **quiet)),
            "MM, sweep": alone(classes, mm.MarkovModel(itr=STEPS, n_init=1, **quiet)),
        }
    group = next(iter(graphs.values())).modules[-1].host_group
    rows = []
    for what, graph in graphs.items():
        graph.fit(1, verbose=0)  # compiles, and finds a start
        with hosts.together(group):
            hosts.any_host(False)  # all have come here
        watch, count = Watch(group, graph), keras.callbacks.History()
        count.reads_weights = False
        graph.fit(1, verbose=0, module_callbacks={graph.modules[-1].name: [count]})
        rows.append({"what": what, **watch.read(len(count.epoch))})
    if group.index == 0:
        pathlib.Path(result).write_text(json.dumps(rows))


class Watch:
    """What one update takes, for each of its epochs or sweeps."""

    def __init__(self, group, graph):
        self.group, self.model = group, graph.modules[-1].model
        self.steps = -(-len(graph.modules[0].data) * group.size // 500)
        self.begin = self._now()

    def _now(self):
        return (
            time.perf_counter(),
            carried(),
            getattr(self.group, "bytes_summed", 0),
            getattr(self.group, "num_sums", 0),
        )

    def read(self, epochs):
        seconds, bytes_carried, summed, exchanges = (
            now - before for now, before in zip(self._now(), self.begin, strict=True)
        )
        if getattr(self.model, "optimizer", None) is not None:  # gradients, in single precision
            size = sum(4 * int(np.prod(weight.shape)) for weight in self.model.trainable_weights)
            summed += size * self.steps * epochs
            exchanges += self.steps * epochs
        ring = 2 * (self.group.size - 1) * summed
        each = {"seconds": seconds, "bytes": bytes_carried, "ring": ring, "exchanges": exchanges}
        return {name: value / epochs for name, value in each.items()}


if __name__ == "__main__":
    if sys.argv[1:2] == ["--host"]:
        host(sys.argv[2], int(sys.argv[3]))
    else:
        main()
