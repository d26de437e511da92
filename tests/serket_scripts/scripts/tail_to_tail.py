"""Words and images under one class; the node is updated before the mixture has spoken."""

import numpy as np

import kserket as srk
from kserket import gmm, mlda, tt

data_category = np.loadtxt("category.txt")
obs1, obs2 = srk.Observation(np.loadtxt("words.txt")), srk.Observation(np.loadtxt("points.txt"))
lda1 = mlda.MLDA(5, [100], category=data_category)
gmm1 = gmm.GMM(5, itr=50, category=data_category)
tt1 = tt.TtoT()

lda1.connect(obs1)
gmm1.connect(obs2)
tt1.connect(lda1, gmm1)

for i in range(3):
    lda1.update()
    tt1.update()
    gmm1.update()
    tt1.update()
