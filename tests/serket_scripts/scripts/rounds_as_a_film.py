"""Plots the course of learning from the folders of all updates."""

import numpy as np

import kserket as srk
from kserket import mlda, mm

words = srk.Observation(np.loadtxt("words.txt"))
mlda1 = mlda.MLDA(5, [100], category=np.loadtxt("category.txt"), keep_rounds=True)
mm1 = mm.MarkovModel(keep_rounds=True)
mlda1.connect(words)
mm1.connect(mlda1)
for i in range(3):
    mlda1.update()
    mm1.update()
film = [np.loadtxt("module001_mlda/%03d/categories_learn.txt" % i) for i in range(3)]
assert [frame.shape for frame in film] == [(100,)] * 3
transitions = [np.loadtxt("module002_mm/%03d/trans_prob_learn.txt" % i) for i in range(3)]
assert all(np.allclose(matrix.sum(1), 1) for matrix in transitions)
confusion = np.zeros((5, 5))
for truth, found in zip(np.loadtxt("category.txt"), film[-1], strict=True):
    confusion[int(truth), int(found)] += 1
assert np.isclose(np.trace(confusion) / 100, np.loadtxt("module001_mlda/002/acc_learn.txt"))
