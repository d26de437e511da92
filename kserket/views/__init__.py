"""Other views of the same data: modules that describe what an observation holds.

`from kserket import views`; `views.OrientedGradients(...)`, `views.UMAP(...)`,
`views.Concatenate(...)`.
"""

from kserket.views.concatenate import Concatenate
from kserket.views.gradients import OrientedGradients
from kserket.views.umap import UMAP

__all__ = ["UMAP", "Concatenate", "OrientedGradients"]
