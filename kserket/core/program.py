"""`Graph.predict` as one compiled function."""

import itertools
import math
import threading
import warnings
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from kserket import storage
from kserket.core import rules
from kserket.core.learning_module import check_learned
from kserket.core.module import Module
from kserket.core.observation import Observation
from kserket.core.passing import Passing
from kserket.core.row_counts import count_rows
from kserket.core.user_line import user_level

_BLOCK_ROWS = 4096
_TRACING = threading.Lock()

# Attributes of modules that a function may have been traced with: numbers, words and layers, and
# containers where parameters may stand in them. Others change what is learned or written.
_VALUES = (bool, int, float, str, type(None), np.generic, keras.layers.Layer)
_CONTAINERS = (np.ndarray, list, tuple, dict)
_NOT_FOLLOWED = {
    *("callbacks", "fingerprint", "labels", "learnable", "logs", "mode", "name", "number"),
    *("on_step", "rounds", "seed", "seed_key", "start", "text_limit", "trainable", "model"),
    *("_arguments", "_belongs_to", "_callbacks_were_asked_for", "_input_shapes", "_posterior"),
}
_CURRENT, _NEW_TERMS, _NEW_TRACE = range(3)


class _Parameters(NamedTuple):
    """Terms, and the values of the variables that they were computed from.

    Attributes:
        terms: Dict from module to its terms, tensors, or None.
        flat: The tensors in them, one list.
        kinds: Which entries are None, and shapes and types of the others.
        values: Of the variables, one vector.
    """

    terms: dict
    flat: list
    kinds: tuple
    values: tf.Tensor


class _Function(NamedTuple):
    """A traced function, and the modules whose answers it returns."""

    call: Any
    asked: list


class Program:
    """What a graph concludes of new data, compiled once for any number of samples.

    Parameters are read where the function runs, or enter as terms (`Module.terms`) that were
    computed from them. Every call compares the parameters with those that the terms belong to, so
    that it does not matter who changed a variable, or how.

    Args:
        graph: The `Graph`.
        data: Dict from `Observation` to array, with which it will be called first.

    Attributes:
        is_compiled: Whether each module has a rule on tensors, which agrees with its `infer`.
    """

    def __init__(self, graph, data):
        self.key = _key(graph)
        self.observations = list(graph.observations.values())
        self.learners = [module for module in graph.modules if module not in self.observations]
        self.links_samples = any(module.links_samples for module in self.learners)
        self.is_compiled = all(module.has_tensor_rule for module in self.learners)
        self._functions, self._names = {}, dict(graph.names)
        for module in self.learners:
            check_learned(module)
        if not self.is_compiled:
            return
        beliefs = rules.probe(graph, data)
        try:
            terms = {module: module.terms() for module in self.learners}
            self._with_terms = [m for m in self.learners if _has_numbers(terms[m])]
            self._free = [module for module in self.learners if terms[module] is None]
            self._watched = [v for module in self._with_terms for v in _variables(module)]
            self._parameters = self._read_parameters()
            rules.compare(graph, beliefs, self._parameters.terms)
            self._passing = [Passing(graph, beliefs, predicts_data=also) for also in (False, True)]
        except Exception as error:  # in a hook of the user's: of any class
            self.is_compiled = False
            warnings.warn(
                f"{graph!r} predicts by infer() of its modules, which is slower: {error}",
                stacklevel=user_level(),
            )

    def __call__(self, data, predicts_data, max_passes, tolerance):
        """What the graph concludes.

        Args:
            data: Dict from `Observation` to array (N, ...), rows of NaN missing.
            predicts_data: Whether what is predicted of observations is wanted, too.
            max_passes: Most passes.
            tolerance: The change of messages that no longer counts.

        Returns:
            Dict from module to array (N, ...), and the largest change of messages that have not
            settled, 0 if all have. None if it was traced with numbers that are others now.
        """
        size = len(data[self.observations[0]])
        counts = count_rows(self._names, data)
        entries = {module: module.sample_terms(counts[module]) for module in self.learners}
        limits = tf.constant([min(max_passes, 2**31 - 1), tolerance], "float64")
        parts = []
        for rows in self._blocks(data, size):
            block = [_as_tensor(storage.read(data[module], rows)) for module in self.observations]
            samples = {
                (module, name): tf.constant(part[rows])
                for module, own in entries.items()
                for name, part in own.items()
            }
            part = self._run(block, samples, predicts_data, limits)
            if part is None:
                return None
            parts.append(part)
        answers, changes = zip(*parts, strict=True)
        if len(answers) == 1:
            return answers[0], changes[0]
        modules = answers[0].keys()
        return {m: np.concatenate([part[m] for part in answers]) for m in modules}, max(changes)

    def _blocks(self, data, size):
        """Slices of rows: all at once where samples are linked, else as equal as can be."""
        if self.links_samples or size == 1:
            return [slice(None)]
        widest = next(storage.chunks(*data.values()))
        number = math.ceil(size / min(widest.stop, _BLOCK_ROWS))
        edges = np.linspace(0, size, number + 1).astype(int)
        return [slice(start, stop) for start, stop in itertools.pairwise(edges)]

    def _run(self, block, samples, predicts_data, limits):
        """Answers of a block, and what has not settled; None if traced with other numbers."""
        if any(not isinstance(module.model, keras.Model) for module in self._with_terms):
            self._parameters = self._read_parameters()  # nothing tells whether they have changed
        for _ in range(2):
            parameters = self._parameters
            function = self._function(block, samples, predicts_data, parameters)
            *arrays, change, state = function.call(
                *block, *parameters.flat, *samples.values(), limits, parameters.values
            )
            state = int(state)
            if state == _NEW_TRACE:
                return None
            if state == _CURRENT:
                break
            self._parameters = self._read_parameters()
        answers = [array.numpy() for array in arrays]
        return dict(zip(function.asked, answers, strict=True)), float(change)

    def _read_parameters(self):
        """The parameters as they are now."""
        values = _joined(self._watched)  # before terms are computed
        terms = rules.read_terms(self.learners, "float64")
        leaves = tf.nest.flatten(list(terms.values()))
        kinds = tuple(None if leaf is None else (leaf.dtype, *leaf.shape) for leaf in leaves)
        return _Parameters(terms, [leaf for leaf in leaves if leaf is not None], kinds, values)

    def _function(self, block, samples, predicts_data, parameters):
        """The function for arguments of these kinds, traced when they first come."""
        types = tuple(part.dtype for part in block)
        kinds = predicts_data, types, tuple(samples), parameters.kinds
        if kinds not in self._functions:
            with _TRACING:
                passing = self._passing[predicts_data]
                self._functions[kinds] = self._trace(passing, block, samples, parameters)
        return self._functions[kinds]

    def _trace(self, passing, block, samples, parameters):
        """A `_Function`."""
        asked, terms = [], list(parameters.terms.values())
        free = [variable for module in self._free for variable in _variables(module)]
        values = [tf.identity(variable) for variable in free]  # before anything is computed

        def conclude(*flat):
            flat = iter(flat)
            data = {module: next(flat) for module in self.observations}
            leaves = [None if leaf is None else next(flat) for leaf in tf.nest.flatten(terms)]
            own = dict(zip(self.learners, tf.nest.pack_sequence_as(terms, leaves), strict=True))
            for module, name in samples:
                own[module] = own[module]._replace(**{name: next(flat)})
            max_passes, tolerance = tf.unstack(next(flat))
            state = passing(data, own, tf.cast(max_passes, "int32"), tolerance)
            answers = dict(state.answers)
            if passing.predicts_data:
                answers |= passing.predictions(state, own)
            asked[:] = answers
            return [*answers.values(), state.change]

        specs = [
            *map(_any_rows, block),
            *(tf.TensorSpec(part.shape, part.dtype) for part in parameters.flat),
            *map(_any_rows, samples.values()),
            tf.TensorSpec((2,), "float64"),
        ]
        inner = tf.function(conclude, autograph=False).get_concrete_function(*specs)
        read = {id(handle) for handle in inner.captured_inputs}
        pairs = zip(free, values, strict=True)
        held = [(variable, value) for variable, value in pairs if id(variable.handle) not in read]
        before = _joined([value for _, value in held])

        def run(*flat):
            *flat, values = flat
            new_terms = _differ(self._watched, values)
            new_trace = _differ([variable for variable, _ in held], before)
            state = tf.where(new_trace, _NEW_TRACE, tf.where(new_terms, _NEW_TERMS, _CURRENT))
            return [*inner(*flat), state]

        specs.append(tf.TensorSpec(parameters.values.shape, "float64"))
        call = tf.function(run, autograph=False).get_concrete_function(*specs)
        return _Function(call, asked)


def program_of(graph, data):
    """The `Program` of a graph as its modules are now.

    Args:
        graph: The `Graph`.
        data: Dict from `Observation` to array, with which it will be called.
    """
    if graph.program is None or not _same(graph.program.key, _key(graph)):
        graph.program = Program(graph, data)
    return graph.program


def _key(graph):
    """Everything but variables that a function may have been traced with, one list."""
    key = []
    for module in graph.modules:
        key += [module, module.inputs, module.sends_back, module.model]
        if isinstance(module, Observation):
            continue
        states_terms = type(module).terms is not Module.terms
        kinds = _VALUES if states_terms else (*_VALUES, *_CONTAINERS)
        for name, value in vars(module).items():
            is_private = states_terms and name.startswith("_")
            if isinstance(value, kinds) and name not in _NOT_FOLLOWED and not is_private:
                key += [name, value]
        if isinstance(module.model, keras.Model):
            parts = vars(module.model).values()
            key += [part for part in parts if isinstance(part, keras.layers.Layer)]
    return key


def _same(before, after):
    """Whether two keys hold the same objects, or equal numbers and words."""
    return len(before) == len(after) and all(
        old is new or (type(old) is type(new) and isinstance(old, _VALUES) and old == new)
        for old, new in zip(before, after, strict=True)
    )


def _has_numbers(terms):
    """Whether terms hold anything but None."""
    return any(leaf is not None for leaf in tf.nest.flatten(terms))


def _variables(module):
    """TensorFlow's variables of the weights of a module's model, a list."""
    model = module.model
    return [weight.value for weight in model.weights] if isinstance(model, keras.Model) else []


def _any_rows(tensor):
    """The specification of tensors like this one with any number of rows."""
    return tf.TensorSpec((None, *tensor.shape[1:]), tensor.dtype)


def _joined(variables):
    """The values of variables or tensors, one vector."""
    parts = [tf.reshape(tf.cast(part, "float64"), [-1]) for part in variables]
    return tf.concat([*parts, tf.zeros([0], "float64")], axis=0)


def _differ(variables, values):
    """Whether variables have other values now than they had in `values`."""
    return tf.reduce_any(tf.not_equal(_joined(variables), values))


def _as_tensor(array):
    """Data as a tensor in single or double precision, whichever holds them exactly."""
    if array.dtype not in ("float32", "float64"):
        small = array.dtype.itemsize <= 2 and array.dtype.kind in "fiub"
        array = array.astype("float32" if small else "float64")
    return tf.constant(array)
