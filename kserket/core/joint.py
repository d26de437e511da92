"""log p(data) of several modules together: classes, latent variables, and what is above them."""

from kserket.core import messages
from kserket.core.hooks import Hooks
from kserket.core.messenger import call
from kserket.core.observation import Observation


def score(graph, beliefs):
    """log p(data) of a whole graph where it is known exactly, or a lower bound of it.

    It is known where modules of classes form a tree, such as a Markov model over a mixture, or a
    topic model over several. Messages are normalized and have lost how probable the data are; so
    what a module below gives here is the density itself. Where a module of the tree sends up
    q(z|x), what it gives is a bound, and so is what the modules above make of it.

    Args:
        graph: The `Graph`.
        beliefs: `beliefs.Beliefs` about the data.

    Returns:
        Dict with `log_likelihood` or `bound`, mean over the samples that were observed, in nats;
        empty where neither is known.
    """
    learners = [module for module in graph.modules if not isinstance(module, Observation)]
    heard = [source for module in learners for source in module.inputs]
    if len(heard) != len(set(heard)) or len(graph.tops) != 1:
        return {}
    (top,) = graph.tops
    is_bound = any(type(module).latent_bound is not Hooks.latent_bound for module in learners)
    if not is_bound and all(isinstance(source, Observation) for source in top.inputs):
        return {}  # its own figure says it
    below = _below(top, beliefs)
    scores = None if below is None else top.joint_log_likelihood(_data(top, beliefs), below)
    if scores is None:
        return {}
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
    if not num_seen:
        return {}
    return {"bound" if is_bound else "log_likelihood": float(scores.sum()) / num_seen}


def _below(module, beliefs):
    """What each input gives, as the hook `joint_class_log_densities` has it; None of observations.

    None where that is not known of one.
    """
    found = []
    for source in module.inputs:
        if isinstance(source, Observation):
            found.append(None)
            continue
        parts = _below(source, beliefs)
        if parts is None:
            return None
        data = _data(source, beliefs)
        known = source.joint_class_log_densities(data, parts)
        if known is None and all(part is None for part in parts):
            known = call(source.latent_bound, data)
        if known is None:
            return None
        found.append(known)
    return found


def _data(module, beliefs):
    """What a module reads, without a prior."""
    return module.read(beliefs.heard(module)[0], None)
