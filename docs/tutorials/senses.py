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
# # Several senses, from words to pictures
#
# Three senses of one thing: an eye that sees the upper half of a digit, another one that sees the
# lower half, and somebody who talks about it. Each has gaps. A topic model joins the classes of the
# eyes with the words, and everyone learns from the others. Afterwards the graph answers in any
# direction: words from pictures, pictures from words, one half of an image from the other.
#
# The images are real. The sentences are simulated, from the labels; three in ten are missing.

# %%
import matplotlib.pyplot as plt
import numpy as np

import kserket as srk
from kserket import bow, gmm, mlda, plotting, vae

images, labels = srk.datasets.load_digits()
upper, lower = images[:, :32].copy(), images[:, 32:].copy()

names = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
phrases = ["look a {}", "this is a {}", "I see the {} here", "a {} is it not"]
rng = np.random.default_rng(0)


def say(digit):
    """A sentence about a digit; one in ten is wrong."""
    if rng.random() < 0.1:
        digit = rng.integers(10)
    return rng.choice(phrases).format(names[digit])


def content(sentence):
    """The words of a sentence that are not in all of them."""
    common = {"look", "a", "this", "is", "i", "see", "the", "here", "it", "not"}
    return [word for word in sentence.lower().split() if word not in common]


sentences = [say(digit) if rng.random() > 0.3 else None for digit in labels]
known, new = slice(None, 1000), slice(1000, None)
lower[known][rng.random(1000) < 0.2] = np.nan  # the lower eye blinks
print(sentences[:6])

# %% [markdown]
# ## The graph
#
# Each eye has a VAE and a mixture. `bow.BoW` counts words; its tokenizer leaves out the common
# ones, by which a topic model would otherwise sort phrases instead of things. `MLDA`, multimodal
# latent Dirichlet allocation, finds topics that explain what all of its inputs say together. Rows
# of NaN and sentences that are None were not observed: `allow_missing=True`.


# %%
def build(messages=True):
    """Three senses under one topic model."""
    srk.Module.reset_names()
    eyes = []
    for name, half in {"upper": upper, "lower": lower}.items():
        eye = vae.VAE(8, itr=15, batch_size=100, KL_param=1 / 16, name=f"vae_{name}", save_dir=None)
        classes = gmm.GMM(10, name=f"gmm_{name}", category=labels[known], save_dir=None)
        eye.connect(srk.Observation(half[known], name=name, allow_missing=True))
        classes.connect(eye)
        eyes.append(classes)
    words = bow.BoW(sentences[known], tokenizer=content, name="words", save_dir=None)
    topics = mlda.MLDA(10, category=labels[known], save_dir=None)
    topics.connect(*eyes, words, backward=messages)
    return srk.Graph(topics, seed=0)


graph = build()
history = graph.fit(rounds=3, verbose=0)
axes = graph.plot()

# %%
one_way = build(messages=False)
one_way.fit(rounds=3, verbose=0)

print("accuracy, round 3     one way  with messages")
for name in ("gmm_upper", "gmm_lower", "mlda"):
    last = [run.history.history[f"{name}/accuracy"][-1] for run in (one_way, graph)]
    print(f"{name:20} {last[0]:8.3f} {last[1]:14.3f}")

# %% [markdown]
# Each eye sees half of an image and is often wrong by itself. With messages it hears what the other
# eye and the words say, and learns to see better.
#
# ## What each sense says
#
# How often each sense, alone, comes to the class that all find together, and how much it says, in
# bits.

# %%
ax = plotting.plot_modalities(graph)

# %% [markdown]
# The classes of the eyes, and the words, that belong to each topic, their probability below them.
# Nobody told an eye the names of its classes.

# %%
axes = plotting.plot_topics(graph, num_words=3)

# %% [markdown]
# ## New things, with senses missing
#
# `predict` takes what there is. Leave out a sense, or give None.

# %%
senses = {"upper": upper[new], "lower": lower[new], "words": sentences[new]}
for given in (["upper"], ["lower"], ["words"], ["upper", "lower"], ["upper", "lower", "words"]):
    data = {name: senses[name] if name in given else None for name in senses}
    classes = graph.predict(data).argmax(axis=1)
    accuracy = srk.metrics.clustering_accuracy(labels[new], classes)
    print(f"{' + '.join(given):22} {accuracy:.3f}")

# %% [markdown]
# ## From words to pictures
#
# Say a word, and ask both eyes what they expect to see. The graph was never taught that "seven" is
# the name of a picture; it found that they go together.

# %% tags=["thumbnail"]
answer = graph.predict({"words": names}, outputs=["upper", "lower"])
imagined = np.concatenate([answer["upper"], answer["lower"]], axis=1).reshape(-1, 8, 8)

figure, axes = plt.subplots(1, 10, figsize=(9, 1.3), layout="constrained")
for ax, image, name in zip(axes, imagined, names, strict=True):
    ax.imshow(image, cmap="gray_r", vmin=0, vmax=1)
    ax.set_title(name, fontsize=9)
    ax.axis("off")

# %% [markdown]
# ## From pictures to words
#
# The other way round: the probability of each number word, given an image. Rows are true digits.

# %%
answer = graph.predict({"upper": upper[new], "lower": lower[new]}, outputs="words")
columns = [graph["words"].words.index(name) for name in names]
means = np.array([answer[labels[new] == digit][:, columns].mean(axis=0) for digit in range(10)])

figure, ax = plt.subplots(figsize=(4.6, 4), layout="constrained")
ax.imshow(means, cmap="Blues")
ax.set(xticks=range(10), yticks=range(10), ylabel="digit seen", xlabel="word expected")
ax.set_xticklabels(names, rotation=60)

# %% [markdown]
# ## Half an image from the other half
#
# Above: what was there. Middle: the upper half, and what is expected below it. Last row: the same,
# when somebody also says what it is. The word decides where the upper half alone could be two
# digits.

# %%
shown = np.flatnonzero(np.array([s is not None for s in sentences[new]]))[:12]
seen = {"upper": upper[new][shown]}
said = seen | {"words": [names[digit] for digit in labels[new][shown]]}
rows = [images[new][shown]]
for data in (seen, said):
    below = graph.predict(data, outputs="lower")
    rows.append(np.concatenate([upper[new][shown], below], axis=1))

figure, axes = plt.subplots(3, 12, figsize=(9, 2.5), layout="constrained")
for line, row in zip(axes, rows, strict=True):
    for ax, image in zip(line, row, strict=True):
        ax.imshow(image.reshape(8, 8), cmap="gray_r", vmin=0, vmax=1)
        ax.axis("off")
for line, name in zip(axes, ("true", "upper half", "and a word"), strict=True):
    line[0].set_title(name, fontsize=9, loc="left")

# %% [markdown]
# ## Next
#
# - [Missing data](../guides/missing_data.md) has the rules.
# - [MLDA](../modules/mlda.md) explains what the topic model sends to whom.
# - A sense of your own needs [a module](own_module.py).
