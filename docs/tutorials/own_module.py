# ---
# jupytext:
#   text_representation:
#     extension: .py
#     format_name: percent
# kernelspec:
#   display_name: Python 3
#   language: python
#   name: python3
# ---


# %% [markdown]
# # A module of your own
#
# Anything that can say what it concludes can join a graph: a rule in plain Python, a scikit-learn
# estimator, a Keras network. This tutorial writes one of each and connects them to modules that
# come with kserket.
#
# A module answers two questions. What do my inputs say? That is the *evidence*, and goes up. What
# do I expect of each input? That goes down, in the shape of what came up.
#
# | you write | for |
# |---|---|
# | `update()` | a loop or `Graph.fit`: learn, then send up and down |
# | `infer(inputs, prior)` | `Graph.predict`: conclude, and change nothing |
#
# ## scikit-learn: principal components below a mixture
#
# `PCA` can stand where a VAE stands. Up go the components of each image. Down goes the image that
# belongs to the components that the mixture expects.
#
# A graph may be asked of images that nobody has seen: then a module reads rows of NaN, which PCA
# does not take. It is asked of the others, and a row of NaN goes up for each that is missing.

# %%
import keras
import matplotlib.pyplot as plt
import numpy as np
from scipy.special import softmax
from sklearn.decomposition import PCA

import kserket as srk
from kserket import gmm, mlda

images, labels = srk.datasets.load_digits()


@srk.register_module("tutorial")
class Components(srk.Module):
    """Principal components of what it reads."""

    def __init__(self, num_components, name="components"):
        super().__init__(name)
        self.estimator = PCA(num_components, random_state=0)

    def update(self):
        inputs = self.get_observations()
        if self.learnable:
            self.estimator.fit(inputs[0][~np.isnan(inputs[0]).any(axis=1)])
        inference = self.infer(inputs, self.get_backward_msg())
        self.set_forward_msg(inference.evidence)
        self.send_backward_msgs(inference.downward)

    def infer(self, inputs, prior):
        missing = np.isnan(inputs[0]).any(axis=1)  # images that were not observed
        codes = np.full((len(missing), self.estimator.n_components), np.nan)
        if not missing.all():
            codes[~missing] = self.estimator.transform(inputs[0][~missing])
        expected = codes if prior is None else np.asarray(prior)
        return srk.Inference(codes, [self.estimator.inverse_transform(expected)])


# %% [markdown]
# ## Plain Python: what comes in threes
#
# Suppose a camera takes three pictures of each thing. Then three rows in a row have one class, and
# a module that knows it can tell the mixture. It reads class probabilities and learns nothing.
#
# Mind what it sends down: to each picture what the *other two* say. A picture that heard itself
# would only grow more certain of its own mistakes.


# %%
@srk.register_module("tutorial")
class Burst(srk.Module):
    """Rows come in bursts that show one thing."""

    def __init__(self, size, name="burst"):
        super().__init__(name)
        self.size = size

    def update(self):
        inference = self.infer(self.get_observations(), self.get_backward_msg())
        self.set_forward_msg(inference.evidence)
        self.send_backward_msgs(inference.downward)

    def infer(self, inputs, prior):
        log_probs = np.log(np.maximum(inputs[0], 1e-12))
        bursts = log_probs.reshape(-1, self.size, log_probs.shape[1])
        total = bursts.sum(axis=1, keepdims=True)
        classes = softmax(np.broadcast_to(total, bursts.shape), axis=2)
        others = softmax(total - bursts, axis=2)
        classes, others = (x.reshape(log_probs.shape) for x in (classes, others))
        return srk.Inference(
            srk.Categorical(classes),
            [srk.Categorical(others)],
            posterior=srk.Categorical(classes),
        )


# %% [markdown]
# Both modules in one graph, with a mixture between them. The images are sorted so that three
# pictures of a digit follow each other.

# %%
rng = np.random.default_rng(0)
triples = []
for digit in range(10):
    rows = rng.permutation(np.flatnonzero(labels == digit))
    triples += list(rows[: len(rows) // 3 * 3].reshape(-1, 3))
rows = np.concatenate([triples[i] for i in rng.permutation(len(triples))])
x, y = images[rows], labels[rows]
known, new = slice(None, 1500), slice(1500, None)

components = Components(12)
gmm1 = gmm.GMM(10, itr=5, category=y[known], save_dir=None)
burst = Burst(3)
components.connect(srk.Observation(x[known], name="images"))
gmm1.connect(components)
burst.connect(gmm1)
graph = srk.Graph(burst, seed=0)
history = graph.fit(rounds=6, verbose=0)
print("the mixture by round:", np.round(history.history["gmm/accuracy"], 3))

# %% [markdown]
# `Graph.predict` uses `infer` of both. Ask for the observation to see what the graph expects of
# each image, given its burst:

# %% tags=["thumbnail"]
answer = graph.predict(x[new], outputs=["burst", "images"])
accuracy = srk.metrics.clustering_accuracy(y[new], answer["burst"].argmax(axis=1))
print(f"new bursts: {accuracy:.3f}")

figure, axes = plt.subplots(2, 12, figsize=(8, 1.5), layout="constrained")
for line, shown in zip(axes, (x[new], answer["images"]), strict=True):
    for ax, image in zip(line, shown, strict=False):
        ax.imshow(image.reshape(8, 8), cmap="gray_r", vmin=0, vmax=1)
        ax.axis("off")

# %% [markdown]
# ## Keras: a network taught by its graph
#
# `LearningModule` is for models that learn: it adds seeds, result files, scores, saving, and leaves
# everything unchanged when an update fails. You write how the model is made, how it learns, and
# what it concludes.
#
# This one classifies images with a convolutional network. Nobody gives it labels. Its targets are
# what the module above expects: a topic model that hears words.


# %%
@srk.register_module("tutorial")
class Recognizer(srk.LearningModule):
    """Learns to see the classes that the module above speaks of."""

    def __init__(self, K, itr=5, name="recognizer", category=None, mode="learn", *, seed=None):
        super().__init__(name, mode, labels=category, save_dir=None, seed=seed)
        self.K, self.itr = K, itr

    def build_model(self, inputs):
        model = keras.Sequential(
            [
                keras.Input(np.shape(inputs[0])[1:]),
                keras.layers.Reshape((8, 8, 1)),
                keras.layers.Conv2D(16, 3, activation="relu"),
                keras.layers.Conv2D(32, 3, strides=2, activation="relu"),
                keras.layers.Flatten(),
                keras.layers.Dense(self.K, activation="softmax"),
            ]
        )
        model.compile(keras.optimizers.Adam(0.003), loss="categorical_crossentropy")
        return model

    def learn(self, inputs, prior, rng):
        if prior is None:  # nothing was said yet
            return {}
        keras.utils.set_random_seed(int(rng.integers(2**31)))
        history = self.model.fit(
            np.asarray(inputs[0]),
            np.asarray(prior),
            epochs=self.itr,
            batch_size=100,
            callbacks=self.fit_callbacks(self.itr, "epoch"),
            verbose=0,
        )
        return {"loss": history.history["loss"][-1]}

    def infer(self, inputs, prior):
        evidence = srk.Categorical(self.model.predict(np.asarray(inputs[0]), verbose=0))
        return srk.Inference(evidence, [None], posterior=srk.product([evidence, prior]))


# %% [markdown]
# The words are simulated: counts of forty words, ten of which are more frequent with some digit.
# They are a weak hint; sorted by themselves they are wrong for about one digit in five.

# %%
hints = 0.85 / 40 + 0.15 * np.eye(40)[:10]
hints /= hints.sum(axis=1, keepdims=True)
words = np.random.default_rng(0).multinomial(20, hints[y])

recognizer = Recognizer(10, category=y[known])
topics = mlda.MLDA(10, category=y[known], save_dir=None)
recognizer.connect(srk.Observation(x[known], name="images"))
topics.connect(recognizer, srk.Observation(words[known], name="words"))
taught = srk.Graph(topics, seed=0)
history = taught.fit(rounds=6, verbose=0).history

figure, ax = plt.subplots(figsize=(5.5, 3), layout="constrained")
for name, text in {"mlda/accuracy": "topic model", "recognizer/accuracy": "network"}.items():
    ax.plot(range(1, 7), history[name], marker="o", label=text)
ax.set(xlabel="round", ylabel="accuracy", ylim=(0, 1))
ax.legend(frameon=False)

# %% [markdown]
# In the first round the network knows nothing and the topic model has the words alone. Then the
# network learns from it, reports what it sees, and the topics become better than the words can make
# them. New images, without a word:

# %%
classes = taught.predict({"images": x[new]}).argmax(axis=1)
print(f"images alone: {srk.metrics.clustering_accuracy(y[new], classes):.3f}")

# %% [markdown]
# ## Saved like any other
#
# `register_module` gives the class a name in files. Whoever loads the file imports the class first.
# `Components` holds an estimator, so that it would also need `get_state` and `set_state`; a Keras
# model is saved without further ado.

# %%
taught.save("taught.kserket")
again = srk.load_graph("taught.kserket")
print((again.predict({"images": x[new]}).argmax(axis=1) == classes).all())

# %% [markdown]
# ## Next
#
# [A module of your own](../extending.md) lists all hooks, for missing rows, generation and export.
# `examples/poisson_family.py` is a complete family in 140 lines.
