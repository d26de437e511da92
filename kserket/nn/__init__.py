"""A neural network that predicts a target from the class of each sample (Serket's supervised head).

    p_d = p(z_d | what is below),   y_d ~ f(p_d)
    m_d = argmin over q of loss(f(q), y_d),   the message: what the target says of the class

`NN` reads class probabilities and a target, learns f, and sends the classifier the message, found
along the gradient of the loss at the input of the network. `SupervisedHead` is the model behind it.

Reference: Taniguchi et al., "Neuro-SERKET", New Generation Computing 38, 2020.
"""

from kserket.nn.model import SupervisedHead
from kserket.nn.module import NN

__all__ = ["NN", "SupervisedHead"]
