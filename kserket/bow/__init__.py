"""Sentences as bags of words.

    x_nv = how often word v is in sentence n

The order of words is lost, and what a topic model needs is kept.

Reference: Salton et al., "A vector space model for automatic indexing", Communications of the ACM
18(11), 1975.
"""

from kserket.bow.module import BoW

__all__ = ["BoW"]
