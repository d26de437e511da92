"""Topic models on top of each other, each with an observation of its own."""

import numpy as np

import kserket as srk
from kserket import mlda

words = np.loadtxt("words.txt")
below = None
modules = []
for level in range(4):
    obs = srk.Observation(np.roll(words, level, axis=1))
    layer = mlda.MLDA(5, category=np.loadtxt("category.txt"))
    layer.connect(*([obs] if below is None else [obs, below]))
    modules.append(layer)
    below = layer

for i in range(2):
    for layer in modules:
        layer.update()
