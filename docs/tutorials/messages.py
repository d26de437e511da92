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
# # What messages do
#
# Models in a graph tell each other what they know. When does that help, and when not? Here a VAE
# and a mixture sort digits, first by themselves, then below a Markov model that knows something the
# pixels do not: the order in which the digits appeared. Each graph runs twice, with messages and
# without, so that the difference is theirs.
#
# ## Digits in an order
#
# A robot watches a counter. Nine times out of ten the next digit is one more than the last, and
# otherwise any digit. The images are real; their order is simulated.

# %%
import matplotlib.pyplot as plt
import numpy as np

import kserket as srk
from kserket import gmm, mm, plotting, vae

images, labels = srk.datasets.load_digits()
known = np.arange(1200)
rng = np.random.default_rng(0)
waiting = {digit: list(rng.permutation(known[labels[known] == digit])) for digit in range(10)}
order, digit = [], 0
while waiting[digit]:
    order.append(waiting[digit].pop())
    digit = (digit + 1) % 10 if rng.random() < 0.9 else int(rng.integers(10))
x, y = images[order], labels[order]

figure, axes = plt.subplots(1, 20, figsize=(9, 0.8), layout="constrained")
for image, ax in zip(x, axes, strict=False):
    ax.imshow(image.reshape(8, 8), cmap="gray_r")
    ax.axis("off")
print(len(x), "images:", *y[:20])

# %% [markdown]
# ## Four graphs
#
# `backward=False` in `connect` is the ablation: the upper module reads, and sends nothing back.


# %%
def learn(with_order, messages, rounds=3):
    """Fits one graph; labels only score."""
    srk.Module.reset_names()
    vae1 = vae.VAE(10, itr=15, batch_size=100, KL_param=1 / 16, save_dir=None)
    gmm1 = top = gmm.GMM(10, category=y, save_dir=None)
    vae1.connect(srk.Observation(x, name="images"))
    gmm1.connect(vae1, backward=messages)
    if with_order:
        top = mm.MarkovModel(category=y, save_dir=None)
        top.connect(gmm1, backward=messages)
    graph = srk.Graph(top, seed=0)
    graph.fit(rounds=rounds, verbose=0)
    return graph


graphs = {
    (with_order, messages): learn(with_order, messages)
    for with_order in (False, True)
    for messages in (False, True)
}

# %%
print("                          mixture, round 1   round 3")
for (with_order, messages), graph in graphs.items():
    accuracy = graph.history.history["gmm/accuracy"]
    name = ("with" if with_order else "without") + " order, "
    name += "messages" if messages else "one way"
    print(f"{name:26} {accuracy[0]:15.3f} {accuracy[-1]:9.3f}")

# %% [markdown]
# ## Where messages do not pay
#
# Look at the first two lines. The mixture's message to the VAE is computed from the VAE's own
# codes, and nearly all of its decisions are certain. It confirms them, right and wrong alike. Do
# not expect better classes from messages between modules that see the same data in the same way.
#
# What they do buy is a shorter code: the prior of each image now knows its class.

# %%
for messages in (False, True):
    kl = graphs[False, messages].history.history["vae/kl"]
    print(f"nats to code an image, {'messages' if messages else 'one way'}: {kl[-1]:.1f}")

# %% [markdown]
# ## Where they do
#
# The Markov model knows which class tends to follow which. Its own answer, `mm/accuracy`, is better
# than the mixture's even one way. With messages that knowledge also reaches the modules below.

# %% tags=["thumbnail"]
figure, axes = plt.subplots(1, 2, figsize=(9, 3), layout="constrained", sharey=True)
for ax, messages in zip(axes, (False, True), strict=True):
    history = graphs[True, messages].history.history
    for name, label in {"gmm/accuracy": "mixture", "mm/accuracy": "Markov model"}.items():
        ax.plot(range(1, 4), history[name], marker="o", label=label)
    ax.set(title="with messages" if messages else "one way", xlabel="round", xticks=range(1, 4))
axes[0].set_ylabel("accuracy")
axes[0].legend(frameon=False)

# %% [markdown]
# What the chain learned is the counter. States are numbered as the mixture found them; here they
# are sorted by the digit that each fits best.

# %%
graph = graphs[True, True]
_, digit_of = srk.metrics.match_labels(y, graph["mm"].posterior.argmax(axis=1))
states = sorted(digit_of, key=digit_of.get)
transitions = graph["mm"].model.transition_matrix[np.ix_(states, states)]
ax = plotting.plot_transitions(transitions, names=[digit_of[state] for state in states])

# %% [markdown]
# ## One message, looked at
#
# Take an image that the mixture gets wrong by itself, after the first round. Its *evidence* is what
# the pixels say. The *message* is what the chain expects at this moment, from the images before and
# after it, and never from this image itself: nobody hears an echo. Multiplied, they are the
# *posterior*.

# %%
first = learn(with_order=True, messages=True, rounds=1)["gmm"]
evidence = np.asarray(first.get_forward_msg())
message = np.asarray(first.get_backward_msg())
posterior = srk.product([evidence, message]).probs

_, digit_of = srk.metrics.match_labels(y, posterior.argmax(axis=1))
states = sorted(digit_of, key=digit_of.get)
digits = np.array([digit_of[state] for state in states])
wrong = digits[evidence[:, states].argmax(axis=1)] != y
right = digits[posterior[:, states].argmax(axis=1)] == y
row = np.where(wrong & right, posterior.max(axis=1), 0).argmax()
print(f"{wrong.sum()} images wrong by their pixels; {(wrong & right).sum()} of them put right")

figure, axes = plt.subplots(1, 4, figsize=(9, 2.2), layout="constrained")
axes[0].imshow(x[row].reshape(8, 8), cmap="gray_r")
axes[0].set_title(f"a {y[row]}")
axes[0].axis("off")
parts = {"evidence": evidence, "message": message, "posterior": posterior}
for ax, (name, probabilities) in zip(axes[1:], parts.items(), strict=True):
    ax.bar(range(len(states)), probabilities[row, states])
    ax.set(title=name, ylim=(0, 1), xticks=range(len(states)), xticklabels=digits)

# %% [markdown]
# ## What stays when the order is gone
#
# New images come one by one, in no order. Nothing tells the graph what to
# expect, so that only the VAE and the mixture can answer. What they learned under the messages they
# keep.

# %%
new, new_labels = images[1200:], labels[1200:]
for messages in (False, True):
    graph = graphs[True, messages]
    graph["mm"].lengths = np.ones(len(new), int)  # each image is a sequence of its own
    classes = graph.predict(new, outputs="gmm").argmax(axis=1)
    accuracy = srk.metrics.clustering_accuracy(new_labels, classes)
    print(f"{len(new)} single images, {'messages' if messages else 'one way'}: {accuracy:.3f}")

# %% [markdown]
# ## To take home
#
# | the message | what it does |
# |---|---|
# | is computed from the same codes | confirms decisions; a shorter code, hardly better classes |
# | comes from another sense, or from time | corrects: this is where composition pays |
#
# Always run the ablation. [Several senses](senses.py) is the next example, and
# [Concepts](../concepts.md) has the rules by which messages travel.
