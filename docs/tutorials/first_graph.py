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
# # Your first graph
#
# This tutorial sorts handwritten digits into ten classes without labels. You connect two models, a
# variational autoencoder (VAE) and a Gaussian mixture, let them learn together, look at what they
# found, and use it on images that they have never seen. It takes less than a minute.
#
# ## Data
#
# scikit-learn ships 1,797 digits of 8 x 8 pixels. kserket reads them as one row of 64 values
# between 0 and 1 per image. The last 297 stay aside for later. There are labels, too; they only
# score the result.

# %%
import matplotlib.pyplot as plt

import kserket as srk
from kserket import gmm, plotting, vae

images, labels = srk.datasets.load_digits()
known, known_labels = images[:1500], labels[:1500]
new, new_labels = images[1500:], labels[1500:]

figure, axes = plt.subplots(2, 12, figsize=(8, 1.5), layout="constrained")
for image, ax in zip(known, axes.flat, strict=False):
    ax.imshow(image.reshape(8, 8), cmap="gray_r")
    ax.axis("off")

# %% [markdown]
# ## Modules
#
# An `Observation` holds data. A `VAE` compresses each image to ten numbers. A `GMM` sorts these
# numbers into ten classes. `connect` says who reads whom, from the data upwards.
#
# `itr` is the work of one turn: epochs of the VAE. `KL_param` weighs the cost of the code against
# the quality of the reconstruction; [the VAE's page](../modules/vae.md) explains why it is 1/16 for
# images of this size. `save_dir=None` writes no result files.

# %%
observation = srk.Observation(known, name="images")
vae1 = vae.VAE(10, itr=15, batch_size=100, KL_param=1 / 16, save_dir=None)
gmm1 = gmm.GMM(10, category=known_labels, save_dir=None)

vae1.connect(observation)
gmm1.connect(vae1)

# %% [markdown]
# ## The graph
#
# `Graph` takes the module at the top and finds the rest. The seed makes the run repeatable.
#
# In one *round* every module takes a turn. The VAE learns, the mixture sorts what the VAE sends up,
# and sends back where it expects each image to lie. That is the VAE's prior in the next round.
# Three rounds:

# %%
graph = srk.Graph(gmm1, seed=0)
history = graph.fit(rounds=3, verbose=0)
graph.summary()
axes = graph.plot()

# %% [markdown]
# Solid arrows go up: what each module concludes from its data. Dashed arrows go down: what the
# module above expects. How the rounds went:

# %%
axes = plotting.plot_history(history, metrics=["accuracy", "nmi", "reconstruction", "kl"])

# %% [markdown]
# `accuracy` matches each class with the digit that fits it best and counts the images that agree.
# Guessing would score 0.1.
#
# ## What it found
#
# Every point is an image, in the two directions of the latent space that vary most. The colors are
# the classes found; paler points are less certain.

# %% tags=["thumbnail"]
ax = plotting.plot_latent(graph)

# %% [markdown]
# Which digits are confused? Rows are the true digits, columns the classes.

# %%
ax = plotting.plot_confusion(graph)

# %% [markdown]
# The graph also works downwards. `generate` draws images of a class, one row per class here. A row
# with two kinds of digits is a class that holds two.

# %%
ax = plotting.plot_generated(graph, num_images=12, seed=0)

# %% [markdown]
# ## New images
#
# `predict` returns class probabilities of images that the graph has never seen.

# %%
probabilities = graph.predict(new)
print(probabilities[:3].round(2))
print(srk.metrics.clustering_scores(new_labels, probabilities.argmax(axis=1)))

# %% [markdown]
# Ask for other modules or observations by name. For an observation you get what the graph expects
# there. A missing image, given as `None` or a row of NaN, is filled in from what is known, which
# pays as soon as there is [a second sense](senses.py).

# %%
answer = graph.predict(new[:12], outputs=["vae", "images"])
print({name: values.shape for name, values in answer.items()})
ax = plotting.plot_reconstructions(new[:12], answer["images"])

# %% [markdown]
# ## Keep it
#
# One file holds the whole graph: models, optimizers, messages, history. A loaded graph predicts the
# same, and `fit` goes on where it stopped.

# %%
graph.save("digits.kserket")
again = srk.load_graph("digits.kserket")
print((again.predict(new) == probabilities).all())

# %% [markdown]
# ## Next
#
# - [What messages do](messages.py), and where they pay.
# - [Images](images.py): from this result to a better one.
# - [Several senses](senses.py): words and pictures.
# - [A module of your own](own_module.py).
