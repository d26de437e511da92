"""What a graph concludes of new data, and draws."""

import warnings

import numpy as np

from kserket import storage
from kserket.core import messages
from kserket.core.beliefs import nothing_predicts, pass_messages
from kserket.core.checking import shape_cure
from kserket.core.frames import as_frame, import_pandas, index_of
from kserket.core.learning_module import check_learned
from kserket.core.observation import Observation
from kserket.core.options import check_classes
from kserket.core.program import program_of
from kserket.core.row_counts import count_rows, row_sets
from kserket.core.sequence_lengths import lengths_set
from kserket.core.units import difference
from kserket.core.user_line import user_level
from kserket.row_names import check_row_order, row_names_of


def predict(graph, x, wanted, lengths, batch_size, max_passes, tolerance):
    """What modules conclude of new data, and what is predicted of observations.

    Compiled where every module has a rule on tensors that is as fast, else by their `infer`.

    Args:
        graph: The `Graph`.
        x: As in `Graph.predict`.
        wanted: List of modules.
        lengths: Lengths (S,) of the sequences in x, or None.
        batch_size: Samples inferred at a time, or None.
        max_passes: Most passes.
        tolerance: The change of messages that no longer counts.

    Returns:
        List of arrays (N, ...), one for each of `wanted`.
    """
    data = read_data(graph, x)
    if batch_size is None:
        batches = [slice(None)]
    else:
        if lengths is not None:
            raise ValueError("`batch_size` would cut sequences: leave it out, or `lengths`.")
        batches = list(storage.chunks(*data.values(), chunk_rows=int(batch_size)))
    parts, largest = [], 0.0
    for rows in batches:
        part = {observation: array[rows] for observation, array in data.items()}
        with lengths_set(graph, lengths, part):
            answers, change = _conclude(graph, part, wanted, int(max_passes), float(tolerance))
        parts.append(answers)
        largest = max(largest, change)
    warn_of_units(graph, data)
    warn_unless_settled(largest, max_passes, tolerance)
    if len(parts) == 1:
        return parts[0]
    return [np.concatenate(pieces) for pieces in zip(*parts, strict=True)]


def _conclude(graph, data, wanted, max_passes, tolerance):
    """Answers of the modules that are wanted, and the change of what has not settled."""
    observed = [module for module in wanted if isinstance(module, Observation)]
    for module in observed:
        if not any(module in reader.inputs for reader in graph.modules):
            raise ValueError(f"No module predicts {graph.names[module]}: nothing reads it.")
    check_observed(graph, data)
    settled, by_infer = None, _is_long(graph, data)
    by_infer = by_infer or any(reader.passes_through for reader in _readers(graph, observed))
    while settled is None and not by_infer:
        program = program_of(graph, data)
        if not program.is_compiled:
            break
        settled = program(data, bool(observed), max_passes, tolerance)
        if settled is None:
            graph.program = None
    if settled is None:
        beliefs = pass_messages(graph, data, max_passes, tolerance)
        answer, change = beliefs.answer, beliefs.change
    else:
        answers, change = settled
        silent = next((module for module in wanted if module not in answers), None)
        if silent is not None:
            raise ValueError(nothing_predicts(silent))
        answer = answers.__getitem__
    return [
        _filled(graph, module, data[module], answer) if module in observed else answer(module)
        for module in wanted
    ], change


def _filled(graph, observation, x, answer):
    """What is predicted of an observation; where it may have gaps, what was observed stays.

    Args:
        graph: The `Graph`.
        observation: One of its observations.
        x: Its new data (N, ...).
        answer: Function from a module to what was concluded of it.
    """
    predicted = answer(observation)
    if not observation.may_have_gaps:
        return predicted
    readers = [reader for reader in _readers(graph, [observation]) if reader.sends_back]
    parts = [reader.fill_gaps(x, answer(reader)) for reader in readers]
    known = [part for part in parts if part is not None]
    if known:
        return np.mean(known, axis=0)
    return np.where(np.isnan(x), predicted, x)


def check_observed(graph, data):
    """Raises ValueError if a module cannot use the new data of an observation that it reads."""
    for module in graph.modules:
        shapes = module.input_shapes or [None] * len(module.inputs)
        for source, learned in zip(module.inputs, shapes, strict=True):
            if source not in data:
                continue
            name, shape = graph.names[source], np.shape(data[source])[1:]
            if learned is not None and shape != tuple(learned):
                raise ValueError(
                    f"{module.get_name()} has learned from samples of shape {tuple(learned)} of "
                    f"{name}, which holds samples of shape {shape} now. Let it learn from them "
                    "first: graph.fit() or update()."
                )
            module.check_observed(data[source], name)


def warn_of_units(graph, data):
    """Warns of new data in other units than those that the graph holds."""
    for observation, part in data.items():
        text = difference(observation.sizes, part)
        if text is not None:
            warnings.warn(
                f"{graph.names[observation]} seems to come in other units: {text}. Scale new data "
                "as those that were learned from, such as both by 1 / 255.",
                stacklevel=user_level(),
            )


def _is_long(graph, data):
    """Whether there are more rows than the rule on tensors of some module is made for."""
    limits = [module.most_tensor_rows for module in graph.modules]
    size = max(map(len, data.values()), default=0)
    return any(limit is not None and size > limit for limit in limits)


def _readers(graph, observations):
    """The modules that read some of `observations`."""
    return [m for m in graph.modules if any(source in observations for source in m.inputs)]


def warn_unless_settled(change, max_passes, tolerance):
    """Warns if messages still changed in the last pass."""
    if change:
        warnings.warn(
            f"Messages have not settled after {max_passes} passes: the largest change was "
            f"{change:.2g}, above tolerance={tolerance:g}. Raise max_passes, or accept the answer.",
            stacklevel=user_level(),
        )


def framing(graph, x):
    """How the answers to new data become DataFrames.

    Args:
        graph: The `Graph`.
        x: As in `Graph.predict`.

    Returns:
        Function from a module and its answer (N, D) to a DataFrame.
    """
    import_pandas()
    given = x if isinstance(x, dict) else dict.fromkeys(graph.observations, x)
    sets, together = row_sets(graph.modules), {}
    for name, observation in graph.observations.items():
        together.setdefault(sets[observation], []).append(given.get(name))
    indexes = {number: index_of(parts) for number, parts in together.items()}

    def framed(module, answer):
        return as_frame(
            answer, graph.names[module], indexes.get(sets[module]), feature_names(module, answer)
        )

    return framed


def feature_names(module, answer):
    """Names of the columns of an answer (N, D) of an observation that knows them, or None.

    Args:
        module: What gave the answer.
        answer: Array (N, ...).
    """
    names = module.feature_names if isinstance(module, Observation) else None
    return names if np.shape(answer)[1:] == (len(names or ()),) else None


def generate(graph, start, num_samples, component, rng):
    """Draws data from a module downwards.

    Args:
        graph: The `Graph`.
        start: The module to start from.
        num_samples: How many.
        component: Class of `start`, one or (num_samples,); None draws it.
        rng: `numpy.random.Generator`.

    Returns:
        Dict from module to what was drawn for it.
    """
    if isinstance(start, Observation):
        raise ValueError(
            f"`top` must be a module that learns. {graph.names[start]!r} is an observation, which "
            "modules draw; name it in `outputs`."
        )
    drawn = {start: None if component is None else _classes(component, num_samples, start)}
    for module in reversed(graph.modules):
        if module not in drawn or isinstance(module, Observation):
            continue
        check_learned(module)
        if not module.draws_inputs:
            continue
        samples = module.generate(drawn[module], num_samples, rng)
        for source, sample in zip(module.inputs, samples, strict=True):
            drawn.setdefault(source, sample)
    return drawn


def read_data(graph, x):
    """New data by observation; what is left out becomes rows of NaN.

    Args:
        graph: The `Graph`.
        x: Array, or dict from names of observations to arrays or None.

    Returns:
        Dict from `Observation` to array.

    Raises:
        ValueError: If names, shapes or values do not fit.
    """
    observations = graph.observations
    if not isinstance(x, dict):
        if len(observations) != 1:
            raise ValueError(
                "This graph has several observations. Give a dict with the names "
                f"{list(observations)}. Received: {type(x).__name__}"
            )
        x = {next(iter(observations)): x}
    unknown = x.keys() - observations.keys()
    given = {name: part for name, part in x.items() if part is not None}
    if unknown or not given:
        raise ValueError(
            f"Data must be named {list(observations)}, one of them at least and not None. "
            f"Received: {list(x)}{'' if unknown else ', all of them None'}"
        )
    row_names = {name: row_names_of(part) for name, part in given.items()}
    if sum(names is not None for names in row_names.values()) > 1:
        sets, together = row_sets(graph.modules), {}
        for name, names in row_names.items():
            together.setdefault(sets[observations[name]], []).append((name, names))
        for named in together.values():
            check_row_order(*named)
    data = {}
    for name, part in given.items():
        part = observations[name].read_samples(part, name)
        expected = np.shape(observations[name].data)[1:]
        if np.shape(part)[1:] != expected:
            raise ValueError(
                f"{name} holds samples of shape {expected}. Received: {np.shape(part)[1:]}"
                f"{shape_cure(np.shape(part), expected)}"
            )
        data[observations[name]] = part
    sizes = count_rows(graph.names, data)
    for observation in observations.values():
        if observation not in data:
            shape = (sizes[observation], *np.shape(observation.data)[1:])
            data[observation] = np.full(shape, np.nan, "float32")
    return data


def check_labels_in_order(x, labels, name):
    """Raises ValueError if labels name the samples of new data in another order than these.

    Args:
        x: As in `Graph.predict`.
        labels: (N,).
        name: What they are called in errors.
    """
    for part in x.items() if isinstance(x, dict) else [("`x`", x)]:
        check_row_order((part[0], row_names_of(part[1])), (name, row_names_of(labels)))


def _classes(component, num_samples, start):
    """Classes (num_samples,) of the module that data are drawn from."""
    sent = start.get_forward_msg()
    if sent is None:  # nothing is known of its classes: its own generate() will see
        return check_classes("component", component, num_samples)
    if not messages.is_categorical(sent):
        raise ValueError(
            f"`component` needs a module of classes to start from, and {start.get_name()} sends "
            "none. Leave `component` out."
        )
    return check_classes("component", component, num_samples, np.shape(sent)[1])
