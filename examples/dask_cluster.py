"""Mixtures and topic models on a Dask cluster, whose workers may come and go.

What a sweep adds up over some rows may be computed anywhere: `model.statistics(part)`. One update
from all parts, `model.merge(...)`, is the sweep of one process over all rows. So rows stay in
files, of which each worker reads a part; parameters and sums are all that travels. Dask reads a
part again elsewhere when its worker is lost, and hands parts to workers that join. Nothing but the
process that merges has to stay.

    pip install kserket[cluster]
    python examples/dask_cluster.py
    python examples/dask_cluster.py --scheduler tcp://10.0.0.1:8786 --folder /shared

The data are SIMULATED. Halfway one of the workers leaves. Printed is how far the parameters are
from those that one process finds.
"""

import argparse
import pickle
import tempfile
from pathlib import Path

import numpy as np
from distributed import Client, LocalCluster

import kserket as srk


def read(path, start, stop):
    """Some rows of a file."""
    return np.load(path, mmap_mode="r")[start:stop]


def statistics(part, model):
    """What a sweep adds up over a part."""
    return model.statistics(part)


def deal_out(client, path, num_parts):
    """Parts of a file, each read by the worker that needs it.

    Args:
        client: `distributed.Client`.
        path: An `.npy` file (N, ...) that all workers see.
        num_parts: How many; several for each worker, so that one that joins finds some.
    """
    cuts = np.linspace(0, len(np.load(path, mmap_mode="r")), num_parts + 1).astype(int).tolist()
    paths = [str(path)] * num_parts
    return client.map(read, paths, cuts[:-1], cuts[1:])


def learn(client, model, parts, epochs):
    """Sweeps over all parts, wherever they are.

    Args:
        client: `distributed.Client`.
        model: Fitted `GaussianMixture`, `MultimodalLDA` or `MarkovChain`.
        parts: What `deal_out` returned.
        epochs: Number of sweeps.
    """
    for _ in range(epochs):  # not pure: the model is another one in each
        model.merge(*client.gather(client.map(statistics, parts, model=model, pure=False)))


def difference(model, other):
    """The largest difference between parameters, relative to the largest of each kind."""
    pairs = zip(model.get_weights(), other.get_weights(), strict=True)
    return max(abs(a - b).max() / max(1.0, abs(b).max()) for a, b in pairs)


def simulate(num_samples):
    """Models, and the data of each."""
    points, classes, *_ = srk.datasets.make_mixture(num_samples, 5, 8, seed=0)
    words = np.random.default_rng(0).poisson(
        np.where(np.arange(50) % 5 == classes[:, None], 2, 0.1)
    )
    options = {"n_init": 2, "tolerance": None, "seed": 0}
    return {
        "mixture": (srk.GaussianMixture(5, **options), points),
        "topics": (srk.MultimodalLDA(5, **options), words),
    }


def run(client, folder, num_samples, epochs):
    """Learns each kind of model; the `difference` of each from one process, by name."""
    found = {}
    for name, (model, data) in simulate(num_samples).items():
        np.save(folder / f"{name}.npy", data)
        sample = np.random.default_rng(0).choice(data, min(2000, num_samples), replace=False)
        model.fit(sample, epochs=1, verbose=0)  # where sweeps begin
        one = pickle.loads(pickle.dumps(model))
        parts = deal_out(client, folder / f"{name}.npy", 6)
        learn(client, model, parts, epochs // 2)
        workers = list(client.scheduler_info()["workers"])
        if len(workers) > 1:
            client.retire_workers(workers[:1])
        learn(client, model, parts, epochs - epochs // 2)
        one.fit(data, epochs=epochs, verbose=0)
        found[name] = difference(model, one)
        left = len(client.scheduler_info()["workers"])
        print(
            f"{name}: {epochs} sweeps over {len(data)} rows, on {len(workers)} workers and then "
            f"{left}; {found[name]:.0e} from one process"
        )
    return found


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scheduler", help="address of a Dask scheduler; by default, threads here")
    parser.add_argument("--folder", help="where data are written, a folder that all workers see")
    parser.add_argument("--quick", action="store_true", help="few samples")
    options = parser.parse_args(arguments)
    size, epochs = (600, 4) if options.quick else (20_000, 20)
    with tempfile.TemporaryDirectory() as folder:
        cluster = options.scheduler or LocalCluster(
            n_workers=3, threads_per_worker=1, processes=False, dashboard_address=None
        )
        with Client(cluster) as client:
            run(client, Path(options.folder or folder), size, epochs)
        if not options.scheduler:
            cluster.close()


if __name__ == "__main__":
    main()
