"""A camera as source, and a module that appends the features of each image to all before."""

import numpy as np

import kserket as srk
from kserket import mlda

images = iter(np.loadtxt("images.txt"))


class Camera(srk.Module):
    def __init__(self, topic, name="camera"):
        super(Camera, self).__init__(name, False)
        self.topic = topic

    def update(self):
        self.set_forward_msg(np.array([next(images).reshape(8, 8)]))


class Histogram(srk.Module):
    def __init__(self, name="histogram"):
        super(Histogram, self).__init__(name, False)
        self.features = []

    def update(self):
        for image in self.get_observations()[0]:
            counts = np.array(
                [(image[i : i + 4, j : j + 4] > 0.5).sum() for i in (0, 4) for j in (0, 4)]
            )
            self.features.append(counts)
        self.set_forward_msg(np.array(self.features))


camera, histogram, mlda1 = Camera("/image"), Histogram(), mlda.MLDA(3, [50])
histogram.connect(camera)
mlda1.connect(histogram)
for i in range(6):
    camera.update()
    histogram.update()
    mlda1.update()
assert mlda1.get_forward_msg().shape == (6, 3)
assert np.loadtxt("module002_mlda/Pdz_learn.txt").shape == (6, 3)
