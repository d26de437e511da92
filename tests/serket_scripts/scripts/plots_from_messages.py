"""What plotting scripts do with messages."""

import numpy as np
from sklearn.decomposition import PCA

import kserket as srk
from kserket import gmm, vae

obs = srk.Observation(np.loadtxt("images.txt"))
labels = np.loadtxt("category.txt")
vae1, gmm1 = vae.VAE(8, itr=20, batch_size=50), gmm.GMM(5, category=labels)
vae1.connect(obs)
gmm1.connect(vae1)
for i in range(2):
    vae1.update()
    gmm1.update()

z = vae1.get_forward_msg()
flat = PCA(n_components=2).fit_transform(z)
for label in range(5):
    assert flat[labels == label].shape[1] == 2 and len(z[labels == label]) == 20
predictions = np.argmax(gmm1.get_forward_msg(), axis=1)
assert predictions.shape == (100,)
assert len(np.savetxt("z.txt", z) or np.loadtxt("z.txt")) == 100
