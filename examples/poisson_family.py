"""A family of your own, with everything that those of the library have: a mixture of counts.

    c_d ~ pi,   x_dv ~ Poisson(rate of word v in class c_d)

It learns by expectation maximization, keeps its classes from round to round, takes class
probabilities from above, skips missing rows, writes its files, is saved, draws data, predicts
compiled and is served. Copy it, and change `conclude`, `learn` and what the model holds.

    python examples/poisson_family.py
"""

import argparse
from typing import Any, NamedTuple

import kserket as srk  # first, so that TensorFlow prints no start-up lines

# isort: split
import keras
import numpy as np
import tensorflow as tf
from sklearn.cluster import KMeans

from kserket import tensors


class Data(NamedTuple):
    """What the hooks work on: counts, 0 in missing rows; log prior (N, K); rows heard (N, 1)."""

    x: np.ndarray
    log_prior: np.ndarray | None
    heard: np.ndarray


class Terms(NamedTuple):
    """What the rule needs of the parameters: (V, K), (K,), (K,)."""

    log_rates: Any
    totals: Any
    log_shares: Any


def conclude(terms, x, log_prior, heard):
    """The rule, once for arrays and tensors: log evidence and log posterior (N, K)."""
    log_likelihood = heard * (x @ terms.log_rates - terms.totals)
    if log_prior is None:  # its own shares stand for the prior that nobody sent
        return log_likelihood + terms.log_shares, log_likelihood + terms.log_shares
    return log_likelihood, log_likelihood + log_prior


@keras.saving.register_keras_serializable(package="examples")
class Rates(keras.Model):
    """The parameters: rates (K, V) and shares (K,), zero before the first fit."""

    def __init__(self, num_classes, num_words, **kwargs):
        super().__init__(**{"dtype": "float64"} | kwargs)
        self.num_classes, self.num_words = num_classes, num_words
        shapes = {"rates": (num_classes, num_words), "shares": (num_classes,)}
        for name, shape in shapes.items():
            weight = self.add_weight(
                shape=shape, initializer="zeros", trainable=False, dtype="float64", name=name
            )
            setattr(self, name, weight)
        self.built = True

    def get_config(self):
        sizes = {"num_classes": self.num_classes, "num_words": self.num_words}
        return {**super().get_config(), **sizes}


@srk.register_module("examples")
class PoissonMixture(srk.LearningModule):
    """Sorts counts (N, V) into K classes.

    Messages:
        Reads: counts (N, V), from one module. Forward: `Categorical` (N, K). Backward: each datum's
        expected counts (N, V). Prior: `Categorical` (N, K), its shares by default.
    """

    links_samples = False
    model_class = Rates

    def __init__(self, K, itr=30, name="poisson", category=None, mode="learn", **options):
        super().__init__(name, mode, labels=category, **options)
        self.K, self.itr = K, itr

    def settings(self):
        return {"K": self.K}

    def read(self, inputs, prior):
        x, name = np.asarray(inputs[0], "float64"), self.get_name()
        if len(inputs) != 1 or x.ndim != 2 or (x < 0).any():
            raise ValueError(f"{name} reads counts (N, V), not negative, from one module.")
        if prior is not None and np.shape(prior)[1:] != (self.K,):
            raise ValueError(f"{name} needs probabilities of {self.K} classes from above.")
        missing = srk.missing_rows(inputs[0])
        heard = np.ones(len(x)) if missing is None else 1.0 - missing
        log_prior = None if prior is None else srk.Categorical(np.asarray(prior)).log_probs
        return Data(np.nan_to_num(x), log_prior, heard[:, None])

    def build_model(self, data):
        return Rates(self.K, data.x.shape[1])

    def learn(self, data, rng):
        rows = data.heard[:, 0] > 0
        if self.model.shares.numpy().any():
            classes = None  # goes on from its parameters
        elif data.log_prior is not None:
            classes = np.exp(data.log_prior)
        else:
            found = KMeans(self.K, n_init=5, random_state=int(rng.integers(2**31)))
            classes = np.zeros((len(rows), self.K))
            classes[rows] = np.eye(self.K)[found.fit_predict(np.sqrt(data.x[rows]))]
        watchers = keras.callbacks.CallbackList(
            self.fit_callbacks(self.itr, "sweep"), model=self.model, epochs=self.itr
        )
        self.model.stop_training = False
        watchers.on_train_begin()
        for sweep in range(self.itr):
            if classes is None:
                log_posterior = conclude(self.terms(), *data)[1]
                classes = srk.Categorical.from_log(log_posterior).probs
            weights = classes * data.heard
            counts = weights.sum(axis=0)
            rates = (weights.T @ data.x + 0.1) / (counts[:, None] + 0.1)
            self.model.set_weights([rates, (counts + 1) / (counts + 1).sum()])
            classes = None
            watchers.on_epoch_end(sweep)
            if self.model.stop_training:
                break
        watchers.on_train_end()
        return {"num_sweeps": sweep + 1}

    def infer(self, data):
        log_evidence, log_posterior = conclude(self.terms(), *data)
        evidence = srk.Categorical.from_log(log_evidence, data.heard[:, 0] == 0)
        posterior = srk.Categorical.from_log(log_posterior)
        return srk.Inference(evidence, [posterior.probs @ self.model.rates.numpy()], posterior)

    def text_files(self, inference):
        return {"Pdz_{mode}.txt": inference.posterior.probs}

    def generate(self, latent, num_samples, rng):
        rates, shares = self.model.get_weights()
        classes = rng.choice(self.K, num_samples, p=shares) if latent is None else latent
        return [rng.poisson(rates[classes]).astype("float64")]

    def terms(self):
        rates, shares = self.model.get_weights()
        return Terms(np.log(rates.T), rates.sum(axis=1), np.log(shares))

    def tensor_infer(self, inputs, prior, terms):
        x = tensors.as_gaussian(inputs[0])
        heard = 1.0 - tf.cast(x.missing[:, None], x.mean.dtype)
        log_prior = None if prior is None else prior.log_probs
        log_evidence, log_posterior = conclude(terms, x.mean, log_prior, heard)
        posterior = tensors.from_log(log_posterior)
        downward = self.tensor_decode(posterior.array, terms)
        return tensors.Inference(tensors.from_log(log_evidence, x.missing), downward, posterior)

    def tensor_decode(self, latent, terms):
        return [latent @ tf.exp(tf.transpose(terms.log_rates))]

    def tensor_generate(self, latent, seed, terms):
        rates = self.tensor_decode(latent, terms)[0]
        return [tf.random.stateless_poisson(tf.shape(rates), seed, rates, rates.dtype)]


def main(argv=None):
    """Sorts made-up documents, alone and below a Markov model that knows their order.

    Args:
        argv: Command line arguments; None takes those of the process.
    """
    from kserket import mm

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="few documents: does it run?")
    args = parser.parse_args(argv)

    rng = np.random.default_rng(args.seed)
    labels = np.arange(60 if args.quick else 600) // 3 % 3  # three documents of a class in a row
    x = rng.poisson(rng.gamma(0.4, 2.0, size=(3, 8))[labels])
    poisson = PoissonMixture(3, category=labels, save_dir=None)
    chain = mm.MarkovModel(category=labels, save_dir=None)
    poisson.connect(srk.Observation(x))
    chain.connect(poisson)
    graph = srk.Graph(chain, seed=args.seed)
    graph.fit(rounds=2 if args.quick else 5, verbose=0)
    alone = poisson.get_forward_msg().classes
    score = srk.metrics.clustering_accuracy
    print(f"{len(x)} documents. Alone: {score(labels, alone):.3f}")
    print(f"with their order: {score(labels, chain.posterior.argmax(axis=1)):.3f}")
    print(f"predicted: {graph.predict(x[:5]).round(2).tolist()}")


if __name__ == "__main__":
    main()
