"""Features of images, and words, apart and then together; `model=` is what had to be added."""

import numpy as np

import kserket as srk
from kserket import cnn as CNN
from kserket import mlda


def main():
    obs1 = CNN.CNNFeatureExtractor(["images/%03d.png" % i for i in range(20)], model="cnn.keras")
    obs2 = srk.Observation(np.loadtxt("words.txt")[:20])

    mlda1 = mlda.MLDA(5, [1000])
    mlda2 = mlda.MLDA(5, [50])
    mlda3 = mlda.MLDA(5, [50, 50])

    mlda1.connect(obs1)
    mlda2.connect(obs2)
    mlda3.connect(mlda1, mlda2)

    for it in range(3):
        obs1.update()
        mlda1.update()
        mlda2.update()
        mlda3.update()


if __name__ == "__main__":
    main()
