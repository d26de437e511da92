"""A module may read the same observation twice."""

import numpy as np

import kserket as srk
from kserket import mlda

obs = srk.Observation(np.loadtxt("words.txt"))
mlda1 = mlda.MLDA(5, [100, 100], category=np.loadtxt("category.txt"))
mlda1.connect(obs, obs)
mlda1.update()
