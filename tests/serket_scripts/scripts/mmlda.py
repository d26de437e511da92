"""Topic models of topic models: objects and motions under one concept."""

import numpy as np

import kserket as srk
from kserket import mlda

seen = srk.Observation(np.loadtxt("words.txt"))
heard = srk.Observation(np.loadtxt("sounds.txt"))
moved = srk.Observation(np.loadtxt("sounds.txt")[:, ::-1])
object_category = np.loadtxt("category.txt")

mlda1 = mlda.MLDA(5, [200, 200], category=object_category)
mlda2 = mlda.MLDA(5, [200])
mlda3 = mlda.MLDA(5, [100, 100])

mlda1.connect(seen, heard)
mlda2.connect(moved)
mlda3.connect(mlda1, mlda2)

for i in range(2):
    mlda1.update()
    mlda2.update()
    mlda3.update()
