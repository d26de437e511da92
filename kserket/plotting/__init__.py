"""Pictures of latent spaces, reconstructions, clusters and training.

Every function takes arrays, and those that say so also a module or a graph to take the arrays
from. It draws on the Axes `ax` or on a new figure, returns the Axes, never calls `show()`, and
changes no global style. Colors are Petroff's ten, made to be told apart by color-blind readers;
clusters beyond ten differ by marker, and all are labeled where they are, so that no legend has
to be decoded.

Reference: M. A. Petroff, "Accessible color sequences for data visualization", 2021.
"""

from kserket.plotting.counts import plot_confusion, plot_signs
from kserket.plotting.images import plot_generated, plot_reconstructions
from kserket.plotting.latent import plot_active_units, plot_latent
from kserket.plotting.scores import plot_history
from kserket.plotting.sequences import plot_durations, plot_states, plot_transitions
from kserket.plotting.topics import plot_modalities, plot_topics

__all__ = [
    "plot_active_units",
    "plot_confusion",
    "plot_durations",
    "plot_generated",
    "plot_history",
    "plot_latent",
    "plot_modalities",
    "plot_reconstructions",
    "plot_signs",
    "plot_states",
    "plot_topics",
    "plot_transitions",
]
