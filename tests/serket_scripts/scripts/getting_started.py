"""Six rows of counts, with the misprint of the manual."""

import numpy as np

import kserket as srk
from kserket import mlda

data = np.array([[9, 1, 2], [7, 2, 1], [1, 8, 1], [2, 10, 1], [1, 2, 9], [1, 1, 3]])
labels = [0, 0, 1, 1, 2, 2]
obs1 = srk.Observation(data)
mlda1 = mlda.MLDA(3, catogory=labels)
mlda1.connect(obs1)
mlda1.update()
