"""Time of one VAE epoch as a multiple of the matrix products that it cannot avoid.

    python benchmarks/vae_speed.py

N = 3,000 samples of 784 features, batches of 500, latent 18, hidden 100: Serket's tutorial. The
floor is the eleven products of a step in float32, in the same process and with the same threads,
on the device that is named; times are of the clock on a GPU, else of the processor.
Beside `vae.VAE.update()` run Keras' own `fit` of the same model, and an eager PyTorch loop where
PyTorch is installed. Everything is measured in turn, several times; medians are printed, with
the smallest and the largest.
"""

import argparse
import time

try:  # before TensorFlow: after it, PyTorch crashes when it makes an optimizer
    import torch
    import torch._dynamo
except ImportError:
    torch = None

import kserket as srk  # first, so that TensorFlow prints no start-up lines

# isort: split
import keras
import numpy as np
import tensorflow as tf
from machine import device

from kserket import vae

SAMPLES, FEATURES, HIDDEN, LATENT, BATCH = 3000, 784, 100, 18, 500


def products():
    """A compiled epoch of nothing but the eleven products of each step."""
    generator = tf.random.Generator.from_seed(0)
    layers = [(FEATURES, HIDDEN), (HIDDEN, 2 * LATENT), (LATENT, HIDDEN), (HIDDEN, FEATURES)]
    operands = []
    for index, (inputs, outputs) in enumerate(layers):
        x, w = generator.normal((BATCH, inputs)), generator.normal((inputs, outputs))
        g = generator.normal((BATCH, outputs))
        operands += [(x, w, False, False), (x, g, True, False)]
        if index > 0:  # no gradient flows into the data
            operands.append((g, w, False, True))

    @tf.function
    def epoch():
        total = 0.0
        for _ in tf.range(SAMPLES // BATCH):
            for a, b, transpose_a, transpose_b in operands:
                total += tf.matmul(a, b, transpose_a=transpose_a, transpose_b=transpose_b)[0, 0]
        return total

    return lambda epochs: [float(epoch()) for _ in range(epochs)]  # waits for a GPU


def serket_update(x):
    """`vae.VAE.update()`, its inner epochs only counted: files off, callbacks on."""
    module = vae.VAE(LATENT, batch_size=BATCH, save_dir=None, seed=0)
    module.callbacks = [keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: None)]
    module.connect(srk.Observation(x))

    def run(epochs):
        module.itr = epochs
        module.update()

    return run


def keras_fit(x):
    """The same model trained by Keras' `fit` on arrays."""
    model = srk.VariationalAutoencoder(LATENT, seed=0)
    model.compile(keras.optimizers.Adam(0.01))
    inputs = {"x": x, "mu": np.zeros((SAMPLES, LATENT), "float32")}
    return lambda epochs: model.fit(inputs, batch_size=BATCH, epochs=epochs, verbose=0)


def torch_eager(x):
    """An eager PyTorch loop of the same model and optimizer on the processor, or None."""
    if torch is None:
        return None
    torch.set_num_threads(tf.config.threading.get_intra_op_parallelism_threads() or 1)
    data = torch.from_numpy(x)
    shapes = [(FEATURES, HIDDEN), (HIDDEN, 2 * LATENT), (LATENT, HIDDEN), (HIDDEN, FEATURES)]
    layers = [torch.nn.Linear(*shape) for shape in shapes]
    optimizer = torch.optim.Adam([p for layer in layers for p in layer.parameters()], lr=0.01)

    def epoch():
        for rows in torch.randperm(SAMPLES).split(BATCH):
            batch = data[rows]
            mean, log_variance = layers[1](layers[0](batch).relu()).chunk(2, dim=1)
            z = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
            logits = layers[3](layers[2](z).relu())
            cost = torch.nn.functional.binary_cross_entropy_with_logits(
                logits, batch, reduction="sum"
            )
            kl = 0.5 * (mean.square() + log_variance.exp() - log_variance - 1).sum()
            optimizer.zero_grad()
            ((cost + kl) / len(batch)).backward()
            optimizer.step()

    return lambda epochs: [epoch() for _ in range(epochs)]


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args(argv)
    tf.config.threading.set_intra_op_parallelism_threads(arguments.threads)
    tf.config.threading.set_inter_op_parallelism_threads(arguments.threads)
    x = np.random.default_rng(0).random((SAMPLES, FEATURES), dtype="float32")
    runs = {
        "products alone": products(),
        "vae.VAE.update()": serket_update(x),
        "keras fit": keras_fit(x),
        "torch eager": torch_eager(x),
    }
    runs = {name: run for name, run in runs.items() if run is not None}
    for run in runs.values():
        run(2)  # traces and warms up
    seconds = {name: [] for name in runs}
    clock = time.perf_counter if tf.config.list_physical_devices("GPU") else time.process_time
    for _ in range(arguments.repeats):
        for name, run in runs.items():
            begin = clock()
            run(arguments.epochs)
            seconds[name].append((clock() - begin) / arguments.epochs)
    floor = np.array(seconds["products alone"])
    print(device())
    print(
        f"{arguments.threads} thread(s), {arguments.repeats} repeats of {arguments.epochs} epochs"
    )
    print(f"{'':<20}{'ms/epoch':>9}{'x floor':>9}   smallest, largest")
    for name, values in seconds.items():
        ratios = np.array(values) / floor
        print(
            f"{name:<20}{1e3 * np.median(values):>9.1f}{np.median(ratios):>9.2f}"
            f"   {ratios.min():.2f}, {ratios.max():.2f}"
        )


if __name__ == "__main__":
    main()
