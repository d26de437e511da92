"""Recordings as histograms of acoustic co-occurrences.

    c_t = the nearest code of frame t
    x_(l, i, j) = how often c_t = i and c_(t - l) = j

Each of three streams (cepstrum, its first and its second derivative) has a codebook, and each lag l
a histogram. The counts add up over a recording: of what is in it the order within l frames is kept.

Reference: Van hamme, "HAC-models: a novel approach to continuous speech recognition", Interspeech
2008.
"""

from kserket.hac.module import HACFeatureExtractor

__all__ = ["HACFeatureExtractor"]
