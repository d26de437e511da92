"""What the families of autoencoders share: networks, data, training, and the module around them.

`model.Autoencoder` is a `keras.Model` whose prior comes with the data, and `module` the part of
its module that does not depend on what the latent variables are. A family states these, and what
travels up.
"""
