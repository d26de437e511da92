"""Spoken words, sorted by the sounds in them."""

import glob

from kserket import hac, mlda


def main():
    wavs = sorted(glob.glob("wavs/*.wav"))
    obs1 = hac.HACFeatureExtractor(wavs, [4, 4, 4], hop_length=160, n_fft=400, n_mels=40)

    mlda1 = mlda.MLDA(3, [200], category=[0, 0, 0, 1, 1, 1, 2, 2, 2])
    mlda1.connect(obs1)

    for it in range(2):
        print(it)
        mlda1.update()


if __name__ == "__main__":
    main()
