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
# # Images: from plain to good
#
# A VAE and a mixture can sort images into what they show, or into nothing of interest. This
# tutorial starts with a run that fails, finds out why without looking at labels, and mends it step
# by step. Labels appear in one place only: they score. Every method runs twice, from two seeds, and
# the agreement of the two runs (1 is the same grouping, 0 chance) needs no labels.
#
# The images are scikit-learn's 1,797 digits, 8 x 8 pixels. [Getting good
# clusters](../guides/good_clusters.md) repeats the steps on MNIST.

# %%
import matplotlib.pyplot as plt
import numpy as np
from sklearn.cluster import KMeans

import kserket as srk
from kserket import gmm, plotting, vae

images, labels = srk.datasets.load_digits()
known, new = slice(None, 1500), slice(1500, None)
scores = {}


def score(name, runs):
    """Keeps the mean accuracy of a method over runs, and prints it with the agreement of two."""
    found = [srk.metrics.clustering_accuracy(labels[known], classes) for classes in runs]
    agreement = srk.metrics.adjusted_rand_index(*runs)
    scores[name] = np.mean(found)
    print(f"{name}: {scores[name]:.3f} {np.round(found, 3)}, agreement {agreement:.2f}")


score(
    "k-means",
    [KMeans(10, n_init=10, random_state=seed).fit_predict(images[known]) for seed in range(2)],
)


def learn(seed=0, rounds=2, epochs=15, KL_param=1.0, **options):
    """A VAE and a mixture; `options` go to the mixture."""
    srk.Module.reset_names()
    vae1 = vae.VAE(10, itr=epochs, batch_size=100, KL_param=KL_param, save_dir=None)
    gmm1 = gmm.GMM(10, save_dir=None, **options)
    vae1.connect(srk.Observation(images[known], name="images"))
    gmm1.connect(vae1)
    graph = srk.Graph(gmm1, seed=seed)
    graph.fit(rounds=rounds, verbose=0)
    return graph


def compare(name, **options):
    """Scores two seeds; returns the graph of the first."""
    graphs = [learn(seed, **options) for seed in range(2)]
    score(name, [graph["gmm"].posterior.argmax(axis=1) for graph in graphs])
    return graphs[0]


# %% [markdown]
# ## The plain way
#
# All defaults: a weight of 1 for the KL divergence, as the textbook has it.

# %%
plain = compare("plain")

# %% [markdown]
# Worse than k-means on the pixels. Two pictures tell why, and neither needs labels. Only a few of
# the ten latent dimensions carry anything; and what the classes generate is blurred, several digits
# in one.

# %%
figure, axes = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
plotting.plot_active_units(plain, ax=axes[0])
ax = plotting.plot_generated(plain, num_images=8, seed=0, ax=axes[1])

# %% [markdown]
# ## The likelihood that the data have
#
# Each pixel of these images counts the black dots among 4 x 4 of the original scan. It is the mean
# of sixteen binary values, and carries sixteen times the evidence of one. The bound should hold
# sixteen cross entropies beside one KL divergence, and a weight of 1/16 says the same.
#
# The general rule: if most latent dimensions are dead, lower `KL_param`, or use
# `likelihood="gaussian"` for real values, or train longer.

# %%
better = compare("right likelihood", KL_param=1 / 16)
figure, axes = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
plotting.plot_active_units(better, ax=axes[0])
ax = plotting.plot_generated(better, num_images=8, seed=0, ax=axes[1])

# %% [markdown]
# ## Start from neighbors
#
# The mixture starts from k-means by default, and moves to the nearest grouping that looks Gaussian.
# In images the better hint is who is near whom. `init="umap"` starts from groups that hang together
# through near neighbors (`pip install "kserket[umap]"`). `itr=1` moves on from there by one sweep a
# round, and `warm_start=False` looks for neighbors again when the VAE has moved.

# %% tags=["thumbnail"]
neighbors = {"init": "umap", "itr": 1, "warm_start": False, "keep_groups": True}
good = compare("start from neighbors", KL_param=1 / 16, **neighbors)
ax = plotting.plot_latent(good)

# %% [markdown]
# ## Is it there, or is it luck?
#
# Look at the agreement that each line reports. Two runs that find the same groups from different
# seeds have found something that is in the data, though it need not be what you look for.
#
# ## New images
#
# `predict` sorts images that took no part.

# %%
classes = good.predict(images[new]).argmax(axis=1)
print(f"new images: {srk.metrics.clustering_accuracy(labels[new], classes):.3f}")
ax = plotting.plot_confusion(labels[new], classes)

# %% [markdown]
# ## In one line
#
# `recipes.images` is a graph of the same modules, put together in the way that has done best: the
# neighbors' classes lead, and the mixture over the VAE starts from them. `fit` without arguments
# does what is recommended. [Recipes](../guides/recipes.md) has one for each kind of data.

# %%
recipes = [srk.recipes.images(images[known], K=10, seed=seed) for seed in range(2)]
for recipe in recipes:
    recipe.fit(rounds=2, verbose=0)
score("recipe", [recipe.predict(images[known]).argmax(axis=1) for recipe in recipes])
axes = recipes[0].plot()

# %%
figure, ax = plt.subplots(figsize=(6, 2.2), layout="constrained")
ax.barh(list(scores), list(scores.values()))
ax.set(xlabel="accuracy of ten classes, no labels used", xlim=(0, 1))
ax.invert_yaxis()
for position, value in enumerate(scores.values()):
    ax.text(value + 0.01, position, f"{value:.3f}", va="center")

# %% [markdown]
# ## Next
#
# Larger images profit from more: straighten them (`preprocessing.deskew`), or add oriented
# gradients as a second view. [Getting good clusters](../guides/good_clusters.md) has figures for
# each. What lifts images furthest is [another sense](senses.py) or [time](messages.py).
