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
# # From Serket, side by side
#
# You have a Serket script. This page runs the one from Serket's documentation, shows where its
# results are, and then does the same as a graph. Each section has Serket's way first.
#
# | | Serket | kserket |
# |---|---|---|
# | import | `import serket as srk` | `import kserket as srk` |
# | modules | `import vae`, `import gmm` | `from kserket import vae, gmm` |
# | networks | TensorFlow 1 | Keras 3 |
# | the loop, file names, arguments | | the same |
#
# ## The script
#
# ```python
# import serket as srk
# import vae
# import gmm
# import numpy as np
#
# obs = srk.Observation(np.loadtxt("data.txt"))
# category = np.loadtxt("category.txt")
#
# vae1 = vae.VAE(10, itr=200, batch_size=500)
# gmm1 = gmm.GMM(10, category=category)
#
# vae1.connect(obs)
# gmm1.connect(vae1)
#
# for i in range(5):
#     vae1.update()
#     gmm1.update()
# ```
#
# Here it is with its imports changed, fewer epochs, and `KL_param` for images of 8 x 8 pixels.

# %%
import pathlib

import matplotlib.pyplot as plt
import numpy as np

import kserket as srk
from kserket import gmm, plotting, vae

images, labels = srk.datasets.load_digits()
np.savetxt("data.txt", images[:1000])
np.savetxt("category.txt", labels[:1000])

obs = srk.Observation(np.loadtxt("data.txt"))
category = np.loadtxt("category.txt")

vae1 = vae.VAE(10, itr=15, batch_size=100, KL_param=1 / 16, seed=0)
gmm1 = gmm.GMM(10, category=category, seed=0)

vae1.connect(obs)
gmm1.connect(vae1)

for i in range(3):
    vae1.update()
    gmm1.update()
    print(f"round {i + 1}: accuracy {gmm1.logs['accuracy']:.3f}")

# %% [markdown]
# ## Result files
#
# Folders and files have Serket's names, so scripts that plot them go on working.

# %%
for path in sorted(pathlib.Path(".").glob("module*/*")):
    if path.is_file():
        print(path)

# %% tags=["thumbnail"]
loss = np.loadtxt("module001_vae/loss.txt")
z = np.loadtxt("module001_vae/z_learn.txt")
classes = np.loadtxt("module002_gmm/class_learn.txt")
print(np.loadtxt("module002_gmm/acc_learn.txt"), (classes == category).mean())

figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
axes[0].plot(loss)
axes[0].set(xlabel="epoch of the last round", ylabel="loss")
ax = plotting.plot_latent(z, classes.astype(int), ax=axes[1])

# %% [markdown]
# ## Recognition
#
# A second script of Serket's reads the parameters and learns nothing. Modules find the folder that
# has their number and name.

# %%
srk.Module.reset_names()  # as in a new process
obs = srk.Observation(images[1000:])
vae2 = vae.VAE(10, mode="recog")
gmm2 = gmm.GMM(10, mode="recog")
vae2.connect(obs)
gmm2.connect(vae2)
vae2.update()
gmm2.update()
recognized = gmm2.posterior
print(srk.metrics.clustering_accuracy(labels[1000:], recognized.argmax(axis=1)))

# %% [markdown]
# ## The same as a graph
#
# The loop becomes `fit`, the second script becomes `predict`, and the rest comes along: history,
# pictures, missing data, generation, one file for everything.

# %%
srk.Module.reset_names()
vae1 = vae.VAE(10, itr=15, batch_size=100, KL_param=1 / 16, save_dir=None)
gmm1 = gmm.GMM(10, category=labels[:1000], save_dir=None)
vae1.connect(srk.Observation(images[:1000]))
gmm1.connect(vae1)

graph = srk.Graph(gmm1, seed=0)
history = graph.fit(rounds=3, verbose=0)
print(np.round(history.history["gmm/accuracy"], 3))

predicted = graph.predict(images[1000:])
print(srk.metrics.clustering_accuracy(labels[1000:], predicted.argmax(axis=1)))

# %% [markdown]
# The loop above and this graph have the same seed and do the same work, so that they give the same
# numbers.
#
# ## What is different, and what it does
#
# Serket's mixture samples (collapsed Gibbs), reads one draw of the VAE's code, and starts from
# random classes. kserket's default is variational, reads mean *and* variance, and starts from the
# best of many k-means++ starts. `inference="gibbs"` is the sampler:

# %%
results = {}
for name, options in {"variational": {}, "Gibbs": {"inference": "gibbs"}}.items():
    for seed in range(3):
        options |= {"name": f"{name} {seed}", "seed": seed}
        model = gmm.GMM(10, category=labels[:1000], save_dir=None, **options)
        model.connect(vae1, backward=False)
        model.update()
        results.setdefault(name, []).append(model.logs["accuracy"])
for name, accuracies in results.items():
    print(f"{name:12} {np.mean(accuracies):.3f} ± {np.std(accuracies):.3f}")

# %% [markdown]
# | Serket | kserket |
# |---|---|
# | each update starts from random parameters | models go on, and classes keep their numbers |
# | of several readers the last one's message counts | messages multiply |
# | a reader's message comes back to it | no module hears itself |
# | parameters are pickled | HDF5 and checkpoints, nothing executable |
#
# [From Serket](../serket_compatibility.md) has all differences with their reasons, and every
# argument, method and file of both versions of Serket. [A Serket script, step by
# step](../guides/from_serket.md) goes through networks of your own and later option names.
