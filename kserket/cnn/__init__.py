"""Images as features of a network that was trained on others.

    x_n = f(image_n),   f the layers of a network up to one of them

Serket's module of this name used the 1,024 features before the classes of GoogLeNet. Here the
network is any Keras model.

Reference: Donahue et al., "DeCAF: a deep convolutional activation feature for generic visual
recognition", ICML 2014.
"""

from kserket.cnn.module import CNNFeatureExtractor

__all__ = ["CNNFeatureExtractor"]
