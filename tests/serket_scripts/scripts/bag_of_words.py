"""Sentences about things, and what they feel like."""

import numpy as np

import kserket as srk
from kserket import bow, mlda

sentences = [line.strip() for line in open("sentences.txt")]

obs1 = bow.BoW(sentences)
obs2 = srk.Observation(np.loadtxt("sounds.txt"))
mlda1 = mlda.MLDA(5, [50, 50], category=np.loadtxt("category.txt"))
mlda1.connect(obs1, obs2)

for it in range(3):
    obs1.update()
    mlda1.update()

print(np.loadtxt("module000_Bow/histograms.txt").shape)
