"""Feature extractors read files when they are made, and are nothing but a source of counts."""

import numpy as np

import kserket as srk
from kserket import mlda


class FeatureExtractor(srk.Module):
    def __init__(self, filenames, name="features"):
        super(FeatureExtractor, self).__init__(name, False)
        self.features = np.vstack([np.loadtxt(filename) for filename in filenames])
        self.set_forward_msg(self.features)

    def update(self):
        pass


data = np.loadtxt("sounds.txt")
np.savetxt("part0.txt", data[:50])
np.savetxt("part1.txt", data[50:])
features = FeatureExtractor(["part0.txt", "part1.txt"])
words = srk.Observation(np.loadtxt("words.txt"), name="obs_words")
mlda1 = mlda.MLDA(5, [200, 200], itr=50, category=np.loadtxt("category.txt"), name="concepts")
mlda1.connect(words, features)
for i in range(2):
    features.update()
    mlda1.update()
assert mlda1.get_name() == "module002_concepts"
assert np.loadtxt(mlda1.get_name() + "/Pmdw[1]_learn.txt").shape == (100, 15)
