"""A graph as TensorFlow operations, in files that are served without kserket."""

import contextlib
import itertools
import tempfile
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from kserket.core import files, tensors
from kserket.core.learning_module import check_learned
from kserket.core.options import check_choice
from kserket.core.saving import NotSaved

MAX_PASSES, TOLERANCE = 50, 1e-8  # where messages go round: settled better than predict's
_CHECKED_ROWS, _CHECK_TOLERANCE = 16, 1e-3


def export(graph, path, format=None, dtype="float32"):
    """Writes the graph for serving; see `Graph.export`."""
    if format is None:
        format = "litert" if str(path).endswith(".tflite") else "tf_saved_model"
    check_choice("format", format, "tf_saved_model", "litert")
    check_choice("dtype", dtype, "float32", "float64")
    if format == "litert" and not str(path).endswith(".tflite"):
        raise ValueError(f"A LiteRT file's path must end in '.tflite'. Received: {path}")
    with contextlib.ExitStack() as on:
        for module in graph.modules:
            on.enter_context(module.as_served())
        if format == "litert":
            return _write_litert(graph, path, _Tracer(graph, "float32", "float32"))
        return _write_signatures(graph, path, _Tracer(graph, dtype, "float64"))


def _write_signatures(graph, path, tracer):
    """Writes a SavedModel; the names of its signatures."""
    signatures = {
        "classify": (tracer.classify, tracer.data_specs()),
        "encode": (tracer.encode, tracer.data_specs()),
    }
    if tracer.decoders():
        signatures["decode"] = tracer.decode, tracer.latent_specs()
    if tracer.can_generate():
        signatures["generate"] = tracer.generate, tracer.generate_specs()
    _check_classes(graph, tracer)
    _write_saved_model(tracer, path, signatures)
    return list(signatures)


class _Tracer:
    """The graph's functions on tensors.

    Args:
        graph: The `Graph`, fitted.
        dtype: Precision of inputs and outputs.
        inner: Precision of messages between modules.
    """

    def __init__(self, graph, dtype, inner):
        self.graph, self.dtype, self.inner = graph, dtype, inner
        self.names = _identifiers(graph.names)
        self.observations = list(graph.observations.values())
        self.learners = [module for module in graph.modules if module not in self.observations]
        for module in self.learners:
            check_learned(module)

    # Signatures -------------------------------------------------------------------------

    def data_specs(self):
        """What `classify` and `encode` take: the observations, under their names."""
        return [
            tf.TensorSpec((None, *np.shape(module.data)[1:]), self.dtype, self.names[module])
            for module in self.observations
        ]

    def classify(self, *data):
        """What `Graph.predict` returns: {name: (N, K)} of the modules at the top."""
        answers = self._settle(data)[1]
        return {
            self.names[top]: tf.cast(tensors.as_array(answers[top]), self.dtype)
            for top in self.graph.tops
        }

    def encode(self, *data):
        """What every module concludes: latent means or class probabilities, and variances."""
        evidence, answers = self._settle(data)
        outputs = {}
        for module in self.learners:
            name = self.names[module]
            outputs[name] = tf.cast(tensors.as_array(answers[module]), self.dtype)
            message = evidence[module]
            if isinstance(message, tensors.Gaussian) and message.variance is not None:
                outputs[f"{name}_variance"] = tf.cast(message.variance, self.dtype)
        return outputs

    def decoders(self):
        """The modules that say what their latent variable means for an observation."""
        return [
            module
            for module in self.learners
            if module.tensor_decode is not None
            and any(_speaker(source) in self.observations for source in module.inputs)
        ]

    def latent_specs(self):
        """What `decode` takes: latent variables, under the names of their modules."""
        return [
            tf.TensorSpec(
                (None, np.shape(module.get_forward_msg())[1]), self.dtype, self.names[module]
            )
            for module in self.decoders()
        ]

    def decode(self, *latents):
        """Probabilities or means of the observations, given latent variables."""
        outputs = {}
        for module, latent in zip(self.decoders(), latents, strict=True):
            parts = module.tensor_decode(tf.cast(latent, self.inner))
            for source, part in zip(module.inputs, parts, strict=True):
                if _speaker(source) in self.observations and part is not None:
                    outputs[self.names[_speaker(source)]] = tf.cast(part, self.dtype)
        return outputs

    def can_generate(self):
        """Whether every module below the only top draws what it reads."""
        return (
            len(self.graph.tops) == 1
            and all(module.tensor_generate is not None for module in self.learners)
            and all(self._num_readers(module) == 1 for module in self.graph.modules[:-1])
            and self._num_classes() is not None
        )

    def generate_specs(self):
        """What `generate` takes: classes (N,) of the top module, and a seed."""
        return [
            tf.TensorSpec((None,), "int32", "component"),
            tf.TensorSpec((), "int32", "seed"),
        ]

    def generate(self, component, seed):
        """Draws of the observations, from classes of the top module downwards."""
        top, size = self.graph.tops[0], self._num_classes()
        is_class = (component >= 0) & (component < size)
        said = f"`component` must hold classes of {self.names[top]}, 0 to {size - 1}. Received:"
        tf.debugging.Assert(tf.reduce_all(is_class), [said, component])
        drawn = {top: tf.one_hot(component, size, dtype=self.inner)}
        for index, module in enumerate(reversed(self.learners)):
            parts = module.tensor_generate(drawn[module], tf.stack([seed, index]))
            drawn |= dict(zip(module.inputs, parts, strict=True))
        return {
            self.names[module]: tf.cast(drawn[module], self.dtype) for module in self.observations
        }

    def _num_readers(self, module):
        return sum(module in reader.inputs for reader in self.graph.modules)

    def _num_classes(self):
        posterior = _speaker(self.graph.tops[0]).posterior
        return None if posterior is None else np.shape(posterior)[1]

    # Messages ---------------------------------------------------------------------------

    def _settle(self, data):
        """Passes messages until they settle; evidence and answers, dicts by module."""
        data = {
            module: tf.cast(part, self.inner)
            for module, part in zip(self.observations, data, strict=True)
        }
        state = self._pass(data, _State({}, {}, {}))
        if any(self._prior(module, state.backward) is not None for module in self.learners):
            for _ in range(2):  # from the second pass on every message has its final kind
                state = self._pass(data, state)

            def step(count, change, numbers):
                before = _unflatten(state, numbers)
                after = self._pass(data, before)
                return count + 1, _change(before, after), _flatten(after)

            _, _, numbers = tf.while_loop(
                lambda count, change, numbers: (count < MAX_PASSES) & (change > TOLERANCE),
                step,
                (tf.constant(3), tf.constant(np.inf, self.inner), _flatten(state)),
            )
            state = _unflatten(state, numbers)
        return state.evidence, state.answers

    def _pass(self, data, state):
        """One pass over the graph, from the data upwards."""
        evidence, answers = {**data, **state.evidence}, {}
        backward = dict(state.backward)
        for module in self.learners:
            inputs = [self._heard(source, module, evidence, backward) for source in module.inputs]
            inference = module.tensor_infer(inputs, self._prior(module, backward))
            evidence[module] = tensors.cast(inference.evidence, self.inner)
            answer = inference.evidence if inference.posterior is None else inference.posterior
            answers[module] = tensors.cast(answer, self.inner)
            if module.sends_back:
                for source, message in zip(module.inputs, inference.downward, strict=True):
                    if message is not None and source not in data:
                        backward[source, module] = tensors.cast(message, self.inner)
        for module in data:
            del evidence[module]
        return _State(evidence, backward, answers)

    def _heard(self, source, reader, evidence, backward):
        """The evidence of `source`, for classes times what its other readers say (the cavity)."""
        message = evidence[source]
        if not isinstance(message, tensors.Categorical):
            return message
        others = [part for (to, by), part in backward.items() if to is source and by is not reader]
        return tensors.product([message, *others])

    def _prior(self, module, backward):
        """The product of what a module's readers say, or None if it does not listen."""
        said = [part for (to, _), part in backward.items() if to is module]
        if not said or not module.evidence_uses_prior:
            return None
        if not all(isinstance(part, tensors.Categorical) for part in said):
            if module.hands_down:  # the same holds for the module below
                return said[0]
            raise TypeError(
                f"The graph cannot be exported: what {module.get_name()} hears from above are no "
                "class probabilities, and they change what it concludes."
            )
        return tensors.product(said)


class _State(NamedTuple):
    """All messages of a pass: dicts by module, backward ones by (receiver, sender)."""

    evidence: dict
    backward: dict
    answers: dict


def _parts(state):
    return [list(part.values()) for part in state]


def _flatten(state):
    """The tensors of a state, one list."""
    return [part for part in tf.nest.flatten(_parts(state)) if part is not None]


def _unflatten(like, numbers):
    """A state with other tensors in it."""
    numbers = iter(numbers)
    flat = [None if part is None else next(numbers) for part in tf.nest.flatten(_parts(like))]
    packed = tf.nest.pack_sequence_as(_parts(like), flat)
    return _State(*map(lambda part, new: dict(zip(part, new, strict=True)), like, packed))


def _change(before, after):
    """The largest change of a module's answer: mean over samples, summed over columns."""
    changes = [
        tf.reduce_mean(
            tf.reduce_sum(
                _difference(tensors.as_array(answer), tensors.as_array(before.answers[module])), -1
            )
        )
        for module, answer in after.answers.items()
    ]
    return tf.reduce_max(tf.stack(changes))


def _speaker(module):
    """The module itself, or the one whose messages it passes on."""
    while module.hands_down:
        module = module.inputs[0]
    return module


def _difference(after, before):
    """Absolute differences; none where data that are passed on are missing."""
    difference = tf.abs(after - before)
    return tf.where(tf.math.is_nan(difference), tf.zeros_like(difference), difference)


# Files -----------------------------------------------------------------------------------


def _write_saved_model(tracer, path, signatures):
    archive = keras.export.ExportArchive()
    for module in tracer.learners:
        model = module.model
        if isinstance(model, keras.Model) and model.built:
            archive.track(model)  # tables too; variables alone are found without
    for name, (function, specs) in signatures.items():  # the first one is the default
        archive.add_endpoint(name, function, input_signature=specs)
    with files.replacing_folder(path) as folder:
        archive.write_out(str(folder), verbose=False)


def _write_litert(graph, path, tracer):
    _check_classes(graph, tracer)
    with tempfile.TemporaryDirectory(prefix="kserket-") as folder:
        _write_saved_model(tracer, folder, {"classify": (tracer.classify, tracer.data_specs())})
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=["classify"])
        try:
            content = converter.convert()
        except Exception as error:  # the converter has no class of errors of its own
            raise ValueError(
                "This graph holds operations that LiteRT does not have: "
                f"{str(error).strip().splitlines()[0]}. Export a SavedModel instead."
            ) from error
    with files.writing(path) as file:
        file.write(content)
    return ["classify"]


def _check_classes(graph, tracer):
    """Raises ValueError unless TensorFlow answers as NumPy does, on a few of the graph's data."""
    if any(isinstance(module.data, NotSaved) for module in tracer.observations):
        return
    data = {name: module.data[:_CHECKED_ROWS] for name, module in graph.observations.items()}
    classify = tf.function(tracer.classify, input_signature=tracer.data_specs(), autograph=False)
    found = classify(*(tf.cast(np.asarray(part), tracer.dtype) for part in data.values()))
    expected = graph.predict(data)
    expected = expected if isinstance(expected, dict) else {graph.names[graph.tops[0]]: expected}
    for top in graph.tops:
        name, difference = graph.names[top], np.inf
        answer = found[tracer.names[top]].numpy()
        if answer.shape == expected[name].shape:
            scale = max(1.0, float(np.abs(expected[name]).max()))
            difference = float(np.abs(answer - expected[name]).max()) / scale
        if not difference < _CHECK_TOLERANCE:
            raise ValueError(
                f"The graph cannot be exported: what {name} concludes in TensorFlow differs by "
                f"{difference:.2g} from graph.predict(). Do tensor_infer() and infer() of every "
                "module say the same?"
            )


def _identifiers(names):
    """Dict from module to its name as TensorFlow takes it, numbered where two become one."""
    identifiers = {}
    for module, name in names.items():
        base = tensors.identifier(name)
        numbered = (f"{base}_{number}" for number in itertools.count(2))
        candidates = itertools.chain([base], numbered)
        identifiers[module] = next(c for c in candidates if c not in identifiers.values())
    return identifiers
