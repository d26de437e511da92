"""Taking the arrays of a picture out of a module or a graph."""

import numpy as np

from kserket.core.messages import missing_rows
from kserket.core.options import make_rng


def find_module(source, *wishes, missing):
    """The first module of a graph that fulfils a wish, the first wish before the second.

    Args:
        source: A graph (whatever has `modules`), or a module, which then is the only one.
        *wishes: Functions from a module to whether it has what the picture needs.
        missing: The error's text if none does.
    """
    for wish in wishes:
        for module in getattr(source, "modules", (source,)):
            if wish(module):
                return module
    raise ValueError(missing)


def is_source(thing):
    """Whether this is a module or a graph, not an array."""
    return hasattr(thing, "modules") or hasattr(thing, "get_forward_msg")


def latent_of(source):
    """Points (N, D) and, where a mixture came from above, responsibilities, means, covariances.

    Points that were not observed are NaN. Of a graph, the first module that was sent a mixture, or
    else one that sends a variance.
    """
    module = find_module(
        source,
        lambda m: _is_mixture(m.mailbox.prior()),
        lambda m: hasattr(m.get_forward_msg(), "variance"),
        lambda m: m is source and m.get_forward_msg() is not None,
        missing="There are no latent points: no module here sends a variance or was sent a "
        "mixture. Call update() or fit() first, or give the module whose message is to be drawn.",
    )
    mixture = module.mailbox.prior()
    message = module.get_forward_msg()
    z, seen = np.full(np.shape(message), np.nan), observed(message)
    z[seen] = np.asarray(message)[seen]
    if not _is_mixture(mixture):
        return z, None, None, None
    return z, mixture.responsibilities, mixture.means, mixture.covariances


def gaussian_of(source):
    """The first module's evidence that has a mean and a variance, and the prior mean or None."""
    module = find_module(
        source,
        lambda m: getattr(m.get_forward_msg(), "variance", None) is not None,
        missing="No module here sends a mean and a variance. Call update() or fit() first.",
    )
    return module.get_forward_msg(), module.mailbox.prior()


def reconstruction_of(source):
    """Data (N, ...) and what the first module that reads them sent back."""
    module = find_module(
        source,
        lambda m: any(_data_with_message(m)),
        missing="No module here has sent its data anything yet. Call update() or fit() first.",
    )
    position = _data_with_message(module).index(True)
    return module.get_observations()[position], module.inputs[position].get_backward_msg()


def generated_of(graph, num_images, output, seed):
    """Dict from observation to what a graph draws of each class, (K, n, ...).

    Args:
        graph: A graph whose top module has classes.
        num_images: How many of each class.
        output: Name of one observation, or None for all.
        seed: Integer or `numpy.random.Generator`.
    """
    posterior = getattr(graph.tops[0], "posterior", None) if hasattr(graph, "tops") else None
    if posterior is None:
        raise ValueError(
            "Only a graph whose top module has found classes draws images of each. Call fit() "
            "first, or pass images (K, n, ...)."
        )
    names = list(graph.observations) if output is None else [output]
    rng = make_rng(seed)
    rows = [
        graph.generate(num_images, component=k, outputs=names, seed=rng)
        for k in range(np.shape(posterior)[1])
    ]
    rows = [row if isinstance(row, dict) else {names[0]: row} for row in rows]
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def signs_of(source):
    """Signs (N,) of a naming game, the classes (N,) of its agents, -1 if not seen, and their names.

    Classes are those that each agent sees by itself, in its own numbers.
    """
    module = find_module(
        source,
        lambda m: getattr(m, "signs", None) is not None,
        missing="No module here has agreed on signs yet. Call fit() of a graph with a NamingGame.",
    )
    messages = module.get_observations()
    classes = [
        np.where(observed(message), np.asarray(message).argmax(axis=1), -1) for message in messages
    ]
    return module.signs, classes, [agent.name for agent in module.inputs]


def scores_of(source):
    """Labels (N,) and probabilities (N, K) of the last module that has both."""
    modules = list(getattr(source, "modules", (source,)))
    for module in reversed(modules):
        labels, posterior = getattr(module, "labels", None), getattr(module, "posterior", None)
        if labels is not None and posterior is not None:
            return labels, posterior
    raise ValueError(
        "No module here has both labels and a posterior. Pass category= when the module is made, "
        "and call update() or fit() first."
    )


def topics_of(source):
    """P(word | class) (K, V) of each modality, weights of the classes (K,), words and names.

    Of arrays there are neither weights nor names.
    """
    if not is_source(source) and not hasattr(source, "topics"):
        return (source if isinstance(source, (list, tuple)) else [source]), None, None, None
    model, names = source, None
    if is_source(source):
        module = _topic_module(source)
        model, names = module.model, [_name_of(each, source) for each in module.inputs]
        words = [getattr(each, "words", getattr(each, "columns", None)) for each in module.inputs]
    else:
        columns = model.columns or []
        words = [*columns, *[None] * (model.num_modalities - len(columns))]
    return list(model.topics), model.topic_weights, words, names


def opinions_of(source):
    """Class probabilities (N, K) of each modality alone, those of all together, and names.

    Samples that were not observed in a modality are NaN there.
    """
    module = _topic_module(source)
    inputs, _ = module.get_messages()
    opinions = []
    for number, message in enumerate(inputs):
        alone = [message if m == number else None for m in range(len(inputs))]
        opinion, missing = np.array(module.model.predict(alone)), missing_rows(message)
        if missing is not None:
            opinion[missing] = np.nan
        opinions.append(opinion)
    return opinions, module.posterior, [_name_of(each, source) for each in module.inputs]


def _topic_module(source):
    """The first module with topics that has learned."""
    return find_module(
        source,
        lambda m: getattr(m, "posterior", None) is not None and hasattr(m.model, "topics"),
        missing="There are no topics: no mlda.MLDA here has learned. Call fit() first.",
    )


def _name_of(module, source):
    """The name of a module in a graph, or its own."""
    return getattr(source, "names", {}).get(module) or module.name


def observed(message):
    """Index of the rows of a message that say something."""
    missing = getattr(message, "missing", None)
    return slice(None) if missing is None else ~missing


def _is_mixture(message):
    """Whether a message carries the components of a mixture."""
    return hasattr(message, "responsibilities")


def _data_with_message(module):
    """For each input, whether it is data (reads nothing itself) that was sent something."""
    return [
        not below.inputs and below.get_backward_msg() is not None
        for below in getattr(module, "inputs", ())
    ]
