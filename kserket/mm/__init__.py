"""Markov model: the order in which classes follow each other.

    z_1 ~ initial,   z_t | z_{t-1} ~ transitions[z_{t-1}],   c_t | z_t ~ reports[z_t]

Reads what the module below says of the class c_t of each step; sends P(z_t | all steps) up, and
down what all other steps say of this one.

Reference: Rabiner, "A tutorial on hidden Markov models", Proceedings of the IEEE 77(2), 1989;
Nakamura, Nagai and Taniguchi, "SERKET", Frontiers in Neurorobotics 12:25, 2018.
"""

from kserket.mm.model import MarkovChain
from kserket.mm.module import MarkovModel

__all__ = ["MarkovChain", "MarkovModel"]
