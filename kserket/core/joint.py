"""log p(data) of several modules together: classes, and what is above them."""

from kserket.core import messages
from kserket.core.observation import Observation


def log_likelihood(graph, beliefs):
    """log p(data) of a whole graph, where it is known exactly.

    That is where modules of classes form a tree, such as a Markov model over a mixture, or a topic
    model over several. Messages are normalized and have lost how probable the data are; so what a
    module below gives here is the density itself.

    Args:
        graph: The `Graph`.
        beliefs: `beliefs.Beliefs` about the data.

    Returns:
        Mean over the samples that were observed, in nats, or None.
    """
    learners = [module for module in graph.modules if not isinstance(module, Observation)]
    heard = [source for module in learners for source in module.inputs]
    is_tree = len(heard) == len(set(heard)) and len(graph.tops) == 1
    (top, *_) = graph.tops
    if not is_tree or all(isinstance(source, Observation) for source in top.inputs):
        return None
    below = _below(top, beliefs)
    scores = None if below is None else top.joint_log_likelihood(_data(top, beliefs), below)
    if scores is None:
        return None
    missing = [
        messages.missing_rows(beliefs.boxes[source].forward)
        for source in heard
        if isinstance(source, Observation)
    ]
    if any(rows is None for rows in missing):
        num_seen = len(scores)
    else:
        everywhere = missing[0]
        for rows in missing[1:]:
            everywhere = everywhere & rows
        num_seen = int((~everywhere).sum())
    return float(scores.sum()) / num_seen if num_seen else None


def _below(module, beliefs):
    """log p(what an input is about | its class) of each input, None of observations.

    None where that is not known of one.
    """
    found = []
    for source in module.inputs:
        if isinstance(source, Observation):
            found.append(None)
            continue
        parts = _below(source, beliefs)
        densities = None
        if parts is not None:
            densities = source.joint_class_log_densities(_data(source, beliefs), parts)
        if densities is None:
            return None
        found.append(densities)
    return found


def _data(module, beliefs):
    """What a module reads, without a prior."""
    return module.read(beliefs.heard(module)[0], None)
