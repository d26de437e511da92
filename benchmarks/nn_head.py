"""What does a second sense tell a classifier through a network? Messages of NN compared.

    python benchmarks/nn_head.py path/to/serket_tutorial.npz

The path may stand in the environment variable KSERKET_TUTORIAL instead.

A classifier of the tutorial's 3,000 digits is simulated: it is right for 70 % and guesses else, at
one of three degrees of sureness. The target is the first 20 principal components of the sounds.
Printed, as mean and standard deviation over seeds: accuracy of the classifier, of the message
alone, and of their product, and what a label costs under the product, in nats. The original's
message is that of Serket's rule, on the same network; "enumerated" reads the network at each class,
with the noise of each component that is left.
"""

import argparse
import os

import kserket as srk  # first, so that TensorFlow prints no start-up lines

# isort: split
import keras
import numpy as np
import tensorflow as tf

from kserket import nn

CLASSES = 10
SURENESS = {"unsure": 0.55, "sure": 0.99}  # of its guess; the third kind is noisy


def components(speech, number=20):
    """The first principal components of square roots of counts, at one scale."""
    roots = np.sqrt(speech.astype("float64"))
    left, sizes, _ = np.linalg.svd(roots - roots.mean(axis=0), full_matrices=False)
    parts = left[:, :number] * sizes[:number]
    return parts / parts.std()


def classifier(kind, labels, rng):
    """Class probabilities (N, K) of a simulated classifier."""
    guess = np.where(rng.random(len(labels)) < 0.7, labels, rng.integers(CLASSES, size=len(labels)))
    own = np.eye(CLASSES)[guess]
    if kind in SURENESS:
        rest = (1 - SURENESS[kind]) / (CLASSES - 1)
        return rest + (SURENESS[kind] - rest) * own
    logits = rng.normal(size=own.shape) * 3.75 + 5.0 * own
    return np.exp(logits - np.logaddexp.reduce(logits, axis=1)[:, None])


def original(head, probs, y, steps):
    """Serket's message: the input is the classifier's probability times the message."""
    logits = tf.Variable(tf.zeros(probs.shape))
    optimizer = keras.optimizers.Adam(0.001)
    optimizer.build([logits])
    shifted, y = tf.constant(probs + 0.01, "float32"), tf.constant(y)

    @tf.function
    def run():
        for _ in tf.range(steps):
            with tf.GradientTape() as tape:
                output = head(shifted * tf.nn.softmax(logits))
                loss = head.compute_loss(None, y, output)
            optimizer.apply_gradients([(tape.gradient(loss, logits), logits)])

    run()
    return tf.nn.softmax(logits).numpy()


def enumerated(head, probs, y):
    """The likelihood of each class, from the network at its corner."""
    noise = ((y - head.predict_tensor(probs).numpy()) ** 2).mean(axis=0)
    expected = head.predict_tensor(np.eye(CLASSES)).numpy()
    logs = -0.5 * ((y[:, None] - expected) ** 2 / noise).sum(axis=2)
    return np.exp(logs - np.logaddexp.reduce(logs, axis=1)[:, None])


def figures(probs, message, labels):
    """Accuracy of a message and of its product with the classifier, and nats of a label."""
    product = probs * np.maximum(message, 1e-12)
    product /= product.sum(axis=1, keepdims=True)
    rows = np.arange(len(labels))
    accuracy = [(part.argmax(axis=1) == labels).mean() for part in (message, product)]
    return [*accuracy, -np.log(np.maximum(product[rows, labels], 1e-12)).mean()]


def run(kind, y, labels, seed, steps):
    """Accuracy of the classifier, and figures of each message by name."""
    probs = classifier(kind, labels, np.random.default_rng(seed))
    srk.Module.reset_names()
    head = nn.NN(100, steps, batch_size1=500, seed=seed, save_dir=None)
    below = srk.Observation(probs, name="classes")
    head.connect(below, srk.Observation(y, name="sounds"))
    head.update()
    messages = {
        "NN": np.asarray(below.get_backward_msg()),
        "original": original(head.model, probs, y, steps),
        "enumerated": enumerated(head.model, probs, y),
    }
    known = (probs.argmax(axis=1) == labels).mean()
    return {rule: [known, *figures(probs, part, labels)] for rule, part in messages.items()}


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    data = os.environ.get("KSERKET_TUTORIAL")
    parser.add_argument("data", nargs="?", default=data, help="the tutorial's data, .npz")
    parser.add_argument("--seeds", type=int, nargs="+", default=[100, 101, 102, 103, 104])
    kinds = [*SURENESS, "noisy"]
    parser.add_argument("--classifiers", nargs="+", choices=kinds, default=kinds)
    parser.add_argument("--steps", type=int, default=2000, help="of the message")
    arguments = parser.parse_args(argv)
    if arguments.data is None:
        parser.exit(message="Left out: give the tutorial's data, or set KSERKET_TUTORIAL.\n")
    _, speech, labels = srk.datasets.load_serket_tutorial(arguments.data)
    y = components(speech)
    columns = ("classifier", "message", "product", "nats")
    print(f"{'':<22}" + "".join(f"{column:>17}" for column in columns))
    for kind in arguments.classifiers:
        runs = [run(kind, y, labels, seed, arguments.steps) for seed in arguments.seeds]
        for rule in runs[0]:
            rows = [found[rule] for found in runs]
            cells = zip(np.mean(rows, axis=0), np.std(rows, axis=0), strict=True)
            text = "".join(f"{f'{mean:.3f} +- {spread:.3f}':>17}" for mean, spread in cells)
            print(f"{kind:<8} {rule:<13}{text}", flush=True)


if __name__ == "__main__":
    main()
