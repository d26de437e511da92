"""Recordings as counts of words, of which the recognizer is not sure.

    h ~ p(h | sound_d),   counts_d = E[words of h]
    p(h | sound_d, everything else)  ~  p(sound_d | h) prod_{w in h} P(w | d)

A recognizer proposes several sentences h for a recording, with a score for each. What the graph
says of the sample, P(w | d), weighs them again: sampling-importance-resampling, in which the
expected counts take the place of one draw.

Reference: Taniguchi et al., "Neuro-SERKET", New Generation Computing 38, 2020.
"""

from kserket.speech_recog.module import SpeechRecog
from kserket.speech_recog.recognizers import PocketSphinx

__all__ = ["PocketSphinx", "SpeechRecog"]
