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
# # Two agents name what they see
#
# Two agents look at handwritten digits. One sees the upper half of each image, the other one the
# lower half, and neither knows what the other one sees. They agree on names for the digits by
# talking: one proposes a name, the other one accepts it or not, by what it sees itself. That is a
# Metropolis-Hastings naming game, and the names become what somebody who sees both halves would
# conclude ([why](../modules/tt.md)).
#
# ## What each agent sees
#
# The 1,797 digits that come with scikit-learn have 8 x 8 pixels. The last 300 are kept for later.

# %%
import matplotlib.pyplot as plt
import numpy as np
from sklearn.decomposition import PCA

import kserket as srk
from kserket import gmm, plotting, tt
from kserket.inference import naming_game

images, labels = srk.datasets.load_digits()
upper, lower = images[:, :32], images[:, 32:]
known = slice(None, -300)

figure, axes = plt.subplots(2, 10, figsize=(8, 1.8), layout="constrained")
for index in range(10):
    for ax, half in zip(axes[:, index], (upper, lower), strict=True):
        ax.imshow(half[index].reshape(4, 8), cmap="gray_r")
        ax.axis("off")

# %% [markdown]
# ## Two agents and a game
#
# An agent is any graph that ends in a classifier. Here each is a mixture that sorts the eight
# principal components of its half into ten classes; a VAE below it would do as well.
# `tt.NamingGame` connects the agents. It holds one sign for each image, and sends it to both as
# class prior. Labels only score.

# %%
agents, encoders = {}, {}
for name, half in {"upper": upper, "lower": lower}.items():
    encoders[name] = PCA(8, random_state=0).fit(half[known])
    eye = srk.Observation(
        encoders[name].transform(half[known]), name=f"{name}_half", allow_missing=True
    )
    agents[name] = gmm.GMM(10, itr=1, n_init=5, name=name, save_dir=None)
    agents[name].connect(eye)
naming = tt.NamingGame(10, itr=10, category=labels[known], save_dir=None)
naming.connect(*agents.values())
graph = srk.Graph(naming, seed=0)

# %% [markdown]
# In a round each mixture does one sweep, hearing the names of the round before, and then the agents
# talk for ten iterations, in each of which both speak once.

# %%
history = graph.fit(rounds=15, verbose=0)
figures = ["sign_ari", "upper_ari", "lower_ari", "agreement", "own_agreement", "acceptance"]
axes = plotting.plot_history(history, metrics=figures)

# %% [markdown]
# `sign_ari` compares the names with the digits (1 is perfect, 0 chance), `upper_ari` and
# `lower_ari` what each agent sees by itself. The names are better than what either sees, and the
# agents learn from them to see better by themselves. `agreement` is Cohen's kappa after both have
# heard the name, which is near 1 by construction. `own_agreement` is the honest figure: how alike
# they are before they hear it.

# %%
for name in figures:
    first, last = (history.history[f"naming/{name}"][index] for index in (0, -1))
    print(f"{name:14} {first:.3f} -> {last:.3f}")

# %% [markdown]
# ## Where the agents and the names differ
#
# Off the diagonal stands what an agent would call otherwise if it were alone.

# %% tags=["thumbnail"]
axes = plotting.plot_signs(naming)

# %% [markdown]
# What each agent sees, on its two first principal components, colored by the agreed sign:

# %%
figure, axes = plt.subplots(1, 2, figsize=(11, 4.6), layout="constrained")
for ax, (name, agent) in zip(axes, agents.items(), strict=True):
    seen_by_it = agent.get_observations()[0]
    plotting.plot_latent(seen_by_it, naming.signs, title=f"Agent of the {name} half", ax=ax)

# %% [markdown]
# ## Names for new images, and images for names
#
# New images are named by both agents, or by one that sees its half alone.

# %%
new = {
    f"{name}_half": encoders[name].transform(half[-300:])
    for name, half in {"upper": upper, "lower": lower}.items()
}
for title, views in {"both": new, **{name: {name: new[name]} for name in new}}.items():
    found = graph.predict(views).argmax(axis=1)
    score = srk.metrics.adjusted_rand_index(labels[-300:], found)
    print(f"named by {title:10}  ARI {score:.3f}")

# %% [markdown]
# What does a name mean? Each agent imagines its half of it, and knows nothing of the other half.

# %%
figure, axes = plt.subplots(1, 10, figsize=(9, 1.4), layout="constrained")
for sign, ax in enumerate(axes):
    imagined = graph.generate(50, component=sign, seed=0)
    halves = [
        encoders[name].inverse_transform(imagined[f"{name}_half"]).mean(axis=0) for name in agents
    ]
    ax.imshow(np.concatenate(halves).reshape(8, 8), cmap="gray_r")
    ax.set_title(f"sign {sign}", fontsize=8)
    ax.axis("off")

# %% [markdown]
# ## Nobody sees both halves, and still the names are right
#
# Held fixed, what the agents know determines how often each name should be used for an image:
# $p(w \mid x_1, x_2) \propto p(x_1 \mid w)\, p(x_2 \mid w)$. The game reaches these probabilities
# although nobody multiplies anything. Below, an image of which neither agent is sure, nor both
# together: the signs of 3,000 iterations, and what each agent would say alone. (Where both are sure
# of different names, hardly any proposal is accepted, and it takes far more iterations.)

# %%
evidence = np.stack(
    [
        agent.get_forward_msg().log_probs[:, order]
        for agent, order in zip(agents.values(), naming.model.numbering, strict=True)
    ]
)
exact = naming.posterior
unsure = np.exp(evidence.max(axis=2)).max(axis=0) < 0.9
image = np.where(unsure, exact.max(axis=1), 1.0).argmin()
many = np.repeat(evidence[:, image : image + 1], 300, axis=1)
seen = np.ones(many.shape[:2], bool)
rng, counts = np.random.default_rng(0), np.zeros(10)
signs = naming_game.first_signs(many, seen)
for turn in range(30):
    signs, _ = naming_game.play(many, seen, signs, rng)
    if turn >= 20:
        counts += np.bincount(signs, minlength=10)

figure, ax = plt.subplots(figsize=(7, 2.6), layout="constrained")
shown = {"upper": np.exp(evidence[0, image]), "lower": np.exp(evidence[1, image])}
shown |= {"exact product": exact[image], "game": counts / counts.sum()}
for index, (name, probs) in enumerate(shown.items()):
    ax.bar(np.arange(10) + 0.2 * index - 0.3, probs / probs.sum(), 0.2, label=name)
ax.set(xlabel="sign", ylabel="probability", xticks=range(10))
ax.legend(frameon=False)
print(f"total variation: {0.5 * np.abs(counts / counts.sum() - exact[image]).sum():.3f}")
