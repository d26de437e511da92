"""A hidden Markov model of two modules."""

import numpy as np

import kserket as srk
from kserket import gmm, mm

data = np.loadtxt("points.txt")
categories = np.loadtxt("category.txt")

obs = srk.Observation(data)
g = gmm.GMM(5, category=categories)
m = mm.MarkovModel()
g.connect(obs)
m.connect(g)

for _ in range(3):
    g.update()
    m.update()
