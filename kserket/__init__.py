"""kserket: probabilistic models composed into one model that learns together."""

import kserket.core.backend  # noqa: F401  (first: imports TensorFlow without its chatter)
from kserket import (
    bow,
    cnn,
    datasets,
    gmm,
    hac,
    metrics,
    mlda,
    mm,
    mnvae,
    nn,
    plotting,
    preprocessing,
    recipes,
    ros,
    speech_recog,
    tt,
    utils,
    vae,
    views,
)
from kserket.core import tensors
from kserket.core.graph import Graph
from kserket.core.host_group import multi_worker_strategy
from kserket.core.inference import Inference
from kserket.core.learning_module import LearningModule
from kserket.core.loading import load_graph
from kserket.core.messages import (
    Categorical,
    Deferred,
    Gaussian,
    Mixture,
    missing_rows,
    product,
)
from kserket.core.module import Module
from kserket.core.observation import Observation
from kserket.core.registry import register_module
from kserket.explanation import explain
from kserket.gmm import GaussianMixture
from kserket.mlda import MultimodalLDA
from kserket.mm import MarkovChain
from kserket.mnvae import MultinomialVAE
from kserket.nn import SupervisedHead
from kserket.repetition import repeat
from kserket.selection import select_components
from kserket.vae import VariationalAutoencoder
from kserket.version import __version__

__all__ = [
    "Categorical",
    "Deferred",
    "Gaussian",
    "GaussianMixture",
    "Graph",
    "Inference",
    "LearningModule",
    "MarkovChain",
    "Mixture",
    "Module",
    "MultimodalLDA",
    "MultinomialVAE",
    "Observation",
    "SupervisedHead",
    "VariationalAutoencoder",
    "__version__",
    "bow",
    "cnn",
    "datasets",
    "explain",
    "gmm",
    "hac",
    "load_graph",
    "metrics",
    "missing_rows",
    "mlda",
    "mm",
    "mnvae",
    "multi_worker_strategy",
    "nn",
    "plotting",
    "preprocessing",
    "product",
    "recipes",
    "register_module",
    "repeat",
    "ros",
    "select_components",
    "speech_recog",
    "tensors",
    "tt",
    "utils",
    "vae",
    "views",
]
