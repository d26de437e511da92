"""Multimodal latent Dirichlet allocation: sorts documents of several kinds of words into topics.

    theta_d ~ Dirichlet(alpha),   phi_mk ~ Dirichlet(beta)
    z_n ~ theta_d,   w_n ~ phi_mz    for each word n of document d in modality m

Reads counts or class probabilities from one or more modules; sends P(topic | document) up, and
down to each input what all others say of it, P(words | document) or class probabilities; takes
class probabilities from above, one row per document. By default alpha is 0: a document has one
topic.

Reference: Nakamura, Araki, Nagai and Iwahashi, "Grounding of word meanings in latent Dirichlet
allocation-based multimodal concepts", Advanced Robotics 25, 2011; Nakamura, Nagai and Taniguchi,
"SERKET", Frontiers in Neurorobotics 12:25, 2018.
"""

from kserket.mlda.model import MultimodalLDA
from kserket.mlda.module import MLDA, load_model

__all__ = ["MLDA", "MultimodalLDA", "load_model"]
