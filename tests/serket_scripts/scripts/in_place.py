"""A module that changes what it reads in place: nobody else's data may move."""

import numpy as np

import kserket as srk


class Binarize(srk.Module):
    def update(self):
        data = self.get_observations()
        data[0][data[0] < 0.5] = 0
        data[0][data[0] >= 0.5] = 1
        self.set_forward_msg(data[0])


images = np.loadtxt("images.txt")
before = images.copy()
obs = srk.Observation(images)
binarize = Binarize("binarize")
binarize.connect(obs)
binarize.update()
assert set(np.unique(binarize.get_forward_msg())) == {0, 1}
assert (images == before).all() and (obs.get_forward_msg() == before).all()
