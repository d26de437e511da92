"""Peak memory and time of VAE+GMM on data in a file, at several sizes.

    python benchmarks/large_data.py
    python benchmarks/large_data.py --samples 100000 1000000 --rounds 1 --itr 1

For each size a file of N x 784 float32 is written (small digits, enlarged, with noise),
then a new process learns from it: Serket's network (latent 18, hidden 100, batches of 500), a
mixture of ten classes, messages both ways. Printed are the process's peak memory, as the operating
system counts it, what of that it had after importing the library, and seconds. The file and the
messages of large sizes need disk space: about 3.1 and 1 GB for a million samples.
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

from kserket import datasets, storage


def write(path, num_samples, chunk=10_000):
    """A file of enlarged digits with noise, values from 0 to 1."""
    digits = datasets.load_digits()[0].reshape(-1, 8, 8)
    rng = np.random.default_rng(0)
    file = np.lib.format.open_memmap(path, "w+", "float32", (num_samples, 784))
    for start in range(0, num_samples, chunk):
        size = min(chunk, num_samples - start)
        images = digits[rng.integers(len(digits), size=size)]
        images = np.pad(images.repeat(3, axis=1).repeat(3, axis=2), ((0, 0), (2, 2), (2, 2)))
        images = images.reshape(size, 784) + rng.normal(scale=0.1, size=(size, 784))
        file[start : start + size] = np.clip(images, 0, 1)
        storage.release(file)


def peak_bytes():
    """The most memory that this process has had (Linux)."""
    with open("/proc/self/status") as file:
        line = next(line for line in file if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def learn(path, rounds, itr):
    """One process: learns from the file and prints what it took."""
    import tensorflow as tf

    import kserket as srk
    from kserket import gmm, vae

    tf.config.threading.set_intra_op_parallelism_threads(1)
    imported, begin = peak_bytes(), time.perf_counter()
    vae1 = vae.VAE(18, itr=itr, batch_size=500, save_dir=None)
    gmm1 = gmm.GMM(10, itr=20, save_dir=None)
    vae1.connect(srk.Observation(path))
    gmm1.connect(vae1)
    history = srk.Graph(gmm1, seed=0).fit(rounds, verbose=0).history
    figures = {
        "imported": imported,
        "peak": peak_bytes(),
        "seconds": time.perf_counter() - begin,
        "loss": history["vae/loss"][-1],
        "live": history["gmm/live_classes"][-1],
    }
    print(json.dumps(figures))


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--itr", type=int, default=1, help="epochs of the VAE in a round")
    parser.add_argument("--file", help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.file:
        learn(arguments.file, arguments.rounds, arguments.itr)
        return
    print(f"{'N':>9}{'file MB':>9}{'imported MB':>13}{'peak MB':>9}{'seconds':>9}{'loss':>9}")
    for num_samples in arguments.samples:
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "x.npy"
            write(path, num_samples)
            command = [sys.executable, __file__, "--file", str(path)]
            command += ["--rounds", str(arguments.rounds), "--itr", str(arguments.itr)]
            done = subprocess.run(command, check=True, capture_output=True, env=os.environ)
            figures = json.loads(done.stdout.splitlines()[-1])
            megabytes = [os.path.getsize(path), figures["imported"], figures["peak"]]
            sizes = [round(size / 1e6) for size in megabytes]
            print(
                f"{num_samples:>9}{sizes[0]:>9}{sizes[1]:>13}{sizes[2]:>9}"
                f"{figures['seconds']:>9.0f}{figures['loss']:>9.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
