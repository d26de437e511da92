"""Recordings and images of things: each says what the other one may be."""

import glob

import numpy as np

import kserket as srk
from kserket import gmm, mlda, speech_recog, tt, vae

wavs = [[name] for name in sorted(glob.glob("wavs/*.wav"))]

obs1 = srk.Observation(np.loadtxt("images.txt")[: len(wavs)])
speech = speech_recog.SpeechRecog(wavs, 5, 1, [8.0, -2.0], 200)
lda1 = mlda.MLDA(3, [100])
vae1 = vae.VAE(4, itr=3, batch_size=5)
gmm1 = gmm.GMM(3, itr=5)
tt1 = tt.TtoT()

lda1.connect(speech)
vae1.connect(obs1)
gmm1.connect(vae1)
tt1.connect(lda1, gmm1)

for i in range(2):
    print(i)
    speech.update()
    lda1.update()
    tt1.update()
    vae1.update()
    gmm1.update()
    tt1.update()
