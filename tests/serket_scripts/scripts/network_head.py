"""Images, and a network above their classes that learns what they sound like."""

import numpy as np
import tensorflow.compat.v1 as tf

import kserket as srk
from kserket import gmm, nn, vae


class SoundHead(nn.NN):
    def model(self, x, y, input_dim, output_dim):
        hidden = tf.keras.layers.Dense(32, activation="relu")(x)
        heard = tf.keras.layers.Dense(output_dim)(hidden)
        loss = tf.reduce_mean(tf.reduce_sum(tf.square(heard - y), axis=1))
        return loss, tf.train.AdamOptimizer(0.005)


obs1 = srk.Observation(np.loadtxt("images.txt"))
obs2 = srk.Observation(np.loadtxt("sounds.txt"))
data_category = np.loadtxt("category.txt")

vae1 = vae.VAE(8, 0.1, 20, batch_size=50)
gmm1 = gmm.GMM(5, category=data_category)
nn1 = SoundHead(itr1=30, itr2=100, batch_size1=50, batch_size2=50)

vae1.connect(obs1)
gmm1.connect(vae1)
nn1.connect(gmm1, obs2)

for i in range(2):
    print(i)
    vae1.update()
    gmm1.update()
    nn1.update()

message = np.loadtxt("module004_nn/message_learn.txt")
assert message.shape == (100, 5) and message.max() > 0.3
