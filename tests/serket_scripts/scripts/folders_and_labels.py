"""Reads results back: classes carry the labels' names, and every update has a folder."""

import numpy as np

import kserket as srk
from kserket import gmm

category = np.loadtxt("category.txt")
obs = srk.Observation(np.loadtxt("points.txt"))
gmm1 = gmm.GMM(5, category=category, keep_rounds=True)
gmm1.connect(obs)
for i in range(2):
    gmm1.update()
for folder in ("module001_gmm/000", "module001_gmm/001", "module001_gmm"):
    accuracy = np.loadtxt(f"{folder}/acc_learn.txt")
    classes = np.loadtxt(f"{folder}/class_learn.txt")
    assert np.isclose((classes == category).mean(), accuracy)
