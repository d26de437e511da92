"""log p(data) of two modules together: classes, and what is above them."""

from kserket.core import messages
from kserket.core.observation import Observation


def log_likelihood(graph, beliefs):
    """log p(data) of a whole graph, where it is known exactly.

    That is where one module of classes reads one observation, and one module reads it, such as a
    Markov model over a mixture. Messages are normalized and have lost how probable the data are;
    so what the module below gives here is the density itself.

    Args:
        graph: The `Graph`.
        beliefs: `beliefs.Beliefs` about the data.

    Returns:
        Mean over the samples that were observed, in nats, or None.
    """
    learners = [module for module in graph.modules if not isinstance(module, Observation)]
    if len(learners) != 2:
        return None
    below, top = learners
    if tuple(top.inputs) != (below,) or len(below.inputs) != 1:
        return None
    inputs, _ = beliefs.heard(below)
    log_densities = below.class_log_densities(below.read(inputs, None))
    if log_densities is None:
        return None
    scores = top.joint_log_likelihood(top.read(beliefs.heard(top)[0], None), log_densities)
    if scores is None:
        return None
    missing = messages.missing_rows(inputs[0])
    num_seen = len(scores) if missing is None else int((~missing).sum())
    return float(scores.sum()) / num_seen if num_seen else None
