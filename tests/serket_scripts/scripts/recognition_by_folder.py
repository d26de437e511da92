"""Recognizes with the folder that was learned in, and counts words in it."""

import numpy as np

import kserket as srk
from kserket import mlda

words, sounds = np.loadtxt("words.txt"), np.loadtxt("sounds.txt")
obs1, obs2 = srk.Observation(words[:80]), srk.Observation(sounds[:80])
mlda1 = mlda.MLDA(5, [100, 100], category=np.loadtxt("category.txt")[:80])
mlda1.connect(obs1, obs2)
mlda1.update()

n_mwz = mlda.load_model("module002_mlda")
assert [n_wz.shape for n_wz in n_mwz] == [(10, 5), (15, 5)]
n_wz = n_mwz[0] + 0.1
p_w_z = n_wz / n_wz.sum(axis=0)

obs3 = srk.Observation(words[80:])
obs4 = srk.Observation(np.zeros((20, 15)))  # nothing is heard
mlda2 = mlda.MLDA(5, [100, 100], category=np.loadtxt("category.txt")[80:])
mlda2.connect(obs3, obs4)
mlda2.update("module002_mlda")
assert np.loadtxt("module005_mlda/acc_recog.txt") > 0.8
guess = p_w_z.dot(mlda2.get_forward_msg().T).T
assert guess.shape == (20, 10)
prediction = np.loadtxt("module005_mlda/Pmdw[1]_recog.txt")
assert prediction.shape == (20, 15)
mlda2.recog()
