"""A module that works on arrays, above a mixture and below a topic model."""

import numpy as np

import kserket as srk
from kserket import gmm, mlda


class Sharpen(srk.Module):
    def __init__(self, power, name="sharpen"):
        super(Sharpen, self).__init__(name, True)
        self.power = power

    def update(self):
        data = self.get_observations()
        back = self.get_backward_msg()
        N = len(data[0])
        if back is None:
            back = np.ones((N, data[0].shape[1])) / data[0].shape[1]
        data[0][data[0] < 0.001] = 0.001
        sharp = data[0] ** self.power
        sharp = (sharp.T / sharp.sum(1)).T
        best = sharp.argmax(1)
        for k in range(sharp.shape[1]):
            sharp[best == k, k] = sharp[best == k, k] * 1.0
        back *= sharp
        back = (back.T / back.sum(axis=1)).T
        assert sharp.mean(axis=0).tolist() and sharp.copy().astype(np.float32).max() <= 1
        np.savetxt("sharp.txt", sharp)
        self.set_forward_msg(sharp)
        self.send_backward_msgs([back])


points = np.loadtxt("points.txt")
before = points.copy()
obs1, obs2 = srk.Observation(points), srk.Observation(np.loadtxt("words.txt"))
gmm1 = gmm.GMM(5)
sharpen = Sharpen(2)
mlda1 = mlda.MLDA(5, [100, 200], category=np.loadtxt("category.txt"))
gmm1.connect(obs1)
sharpen.connect(gmm1)
mlda1.connect(sharpen, obs2)

for i in range(3):
    gmm1.update()
    sharpen.update()
    mlda1.update()
assert (points == before).all()
