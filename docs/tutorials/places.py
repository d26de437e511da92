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
# # Places of a robot
#
# A robot drives through an apartment and measures light and temperature. Four rooms look alike from
# one moment to the next: their readings overlap. But the robot stays in a room for a while, and it
# goes from room to room through doors. A Markov model learns both, together with the
# mixture that sorts the readings ([how](../modules/markov_model.md)).
#
# ## What the robot measures
#
# The readings are simulated: 900 moments in two features. Rooms are used to score, and for nothing
# else.

# %%
import matplotlib.pyplot as plt
import numpy as np

import kserket as srk
from kserket import gmm, metrics, mm, plotting

rng = np.random.default_rng(0)
ROOMS = ["kitchen", "hall", "bath", "bedroom"]
DOORS = np.array([[0, 1, 0, 0], [0.4, 0, 0.3, 0.3], [0, 1, 0, 0], [0, 1, 0, 0]])  # all to the hall
STAYS = np.array([40, 12, 20, 60])  # moments, on average

room, rooms = 0, []
while len(rooms) < 900:
    rooms += [room] * (1 + rng.poisson(STAYS[room] - 1))
    room = rng.choice(4, p=DOORS[room])
rooms = np.array(rooms[:900])
looks = np.array([[0.0, 0.0], [1.3, 0.0], [0.0, 1.3], [1.3, 1.3]])
x = looks[rooms] + 0.6 * rng.normal(size=(900, 2))

plotting.plot_states(rooms, x, names=ROOMS, title="where the robot was, and what it measured")
plt.show()

# %% [markdown]
# ## A mixture alone
#
# A mixture sees each moment by itself.

# %%
alone = gmm.GMM(4, name="alone", save_dir=None)
alone.connect(srk.Observation(x))
srk.Graph(alone, seed=0).fit(rounds=1, verbose=0)
print(round(metrics.clustering_accuracy(rooms, alone.posterior.argmax(axis=1)), 3))

# %% [markdown]
# ## With a Markov model above
#
# `joint=True` lets both learn by one bound. `duration="poisson"` gives each room a time of its own:
# without it, leaving is as probable after one moment as after fifty.

# %%


def learn(name, duration):
    """A mixture under a Markov model; the path of states."""
    mixture = gmm.GMM(4, name=f"{name}_gmm", save_dir=None)
    chain = mm.MarkovModel(name=name, joint=True, duration=duration, save_dir=None)
    mixture.connect(srk.Observation(x))
    chain.connect(mixture)
    graph = srk.Graph(chain, seed=0)
    graph.fit(rounds=1, verbose=0)
    path = np.empty(len(x), int)
    for segment in chain.segments():
        path[segment.start : segment.end] = segment.state
    return graph, chain, path


found = {}
for name, duration in (("geometric", None), ("poisson", "poisson")):
    graph, chain, path = found[name] = learn(name, duration)
    accuracy = metrics.clustering_accuracy(rooms, path)
    score = graph.evaluate(x)["log_likelihood"]
    print(f"{name:10} accuracy {accuracy:.3f}, log p(x) {score:.3f} a moment")

# %% [markdown]
# States have numbers of their own. For the pictures, each gets the name of the room that it is
# mostly in.

# %% tags=["thumbnail"]
graph, chain, path = found["poisson"]
share = np.array([np.bincount(rooms[path == state], minlength=4) for state in range(4)])
room_of = share.argmax(axis=1)
names = [ROOMS[room] for room in room_of]
plotting.plot_states(room_of[path], x, names=ROOMS, title="what the model found")
plt.show()

# %% [markdown]
# ## What it has learned
#
# The doors, and how long the robot stays. A dot is a stay, its shadow the law that was learned.

# %%
plotting.plot_transitions(chain, kind="graph", names=names, title="doors")
plotting.plot_durations(path, law=chain, names=names, title="stays")
print(dict(zip(names, chain.model.expected_durations.round(1).tolist(), strict=True)))
plt.show()

# %% [markdown]
# ## The next day
#
# New readings are sorted by the same rules. Moments without a reading are inferred from the others:
# here three in the kitchen, and three as the robot leaves it.

# %%
left = np.flatnonzero(np.diff(rooms))[0]
new = x[: left + 20].copy()
new[left - 11 : left - 8] = np.nan
new[left - 1 : left + 2] = np.nan
print(
    [ROOMS[room] for room in room_of[graph.predict(new)[left - 11 : left + 3 : 2].argmax(axis=1)]]
)
print([ROOMS[room] for room in rooms[left - 11 : left + 3 : 2]])

# %% [markdown]
# ## Next
#
# Cameras, sounds and words of the same moments: [Time over several
# senses](../guides/time_and_senses.md). The formulas: [Markov model](../modules/markov_model.md).
