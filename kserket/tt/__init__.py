"""Several classifiers of one thing: they agree on its class.

    w_d ~ p(w),   x_md ~ p(x_m | w_d)   for every expert or agent m
    p(w | x_1 ... x_M)  ~  p(w) prod_m p(x_m | w)

`TtoT` multiplies what they know (Serket's tail-to-tail); in a `NamingGame` they agree by talking,
and none knows what another one sees (head-to-head). Both read class probabilities, send each reader
what the others say, and match the experts' numberings of the classes first.

Reference: Taniguchi et al., "Neuro-SERKET", New Generation Computing 38, 2020; Taniguchi et al.,
"Emergent communication through Metropolis-Hastings naming game with deep generative models",
Advanced Robotics 37(19), 2023.
"""

from kserket.tt.module import TtoT
from kserket.tt.naming_game import NamingGame

__all__ = ["NamingGame", "TtoT"]
