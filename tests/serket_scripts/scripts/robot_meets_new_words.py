"""A robot collects what it sees and hears; its vocabulary grows from place to place."""

import numpy as np

import kserket as srk
from kserket import mlda, utils

words, places = np.loadtxt("words.txt"), np.loadtxt("points.txt")
heard, seen = srk.Observation(words[:1, :6]), srk.Observation(np.abs(places[:1]))
memory1, memory2 = utils.Buffer(), utils.Buffer()
mlda1 = mlda.MLDA(3, [50, 50])
memory1.connect(heard)
memory2.connect(seen)
mlda1.connect(memory1, memory2)

for step in range(1, 9):
    known = 6 + 2 * (step // 3)  # new words are new columns
    memory1.update()
    memory2.update()
    mlda1.update()
    heard.set_forward_msg(words[step : step + 1, :known])
    seen.set_forward_msg(np.abs(places[step : step + 1]))
assert mlda1.get_forward_msg().shape == (8, 3)
assert memory1.get_forward_msg().shape == (8, 10)
