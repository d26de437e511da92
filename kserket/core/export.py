"""A graph as TensorFlow operations, in files that are served without kserket."""

import itertools
import tempfile
import warnings

import keras
import numpy as np
import tensorflow as tf

from kserket.core import files, rules, tensors
from kserket.core.learning_module import check_learned
from kserket.core.options import check_choice, foreign_ending
from kserket.core.passing import Passing, conclude, source_of
from kserket.core.row_counts import row_sets


def export(graph, path, format=None, dtype="float32"):
    """Writes the graph for serving; see `Graph.export`."""
    if format is None:
        format = "litert" if str(path).endswith(".tflite") else "tf_saved_model"
    check_choice("format", format, "tf_saved_model", "litert")
    check_choice("dtype", dtype, "float32", "float64")
    if format == "litert" and not str(path).endswith(".tflite"):
        raise ValueError(f"A LiteRT file's path must end in '.tflite'. Received: {path}")
    if format == "litert":
        return _write_litert(path, _Tracer(graph, "float32", "float32"))
    foreign = foreign_ending(path, "the folder of a SavedModel", "Give it another name.")
    if foreign:
        raise ValueError(foreign)
    return _write_signatures(path, _Tracer(graph, dtype, "float64"))


def _write_signatures(path, tracer):
    """Writes a SavedModel; the names of its signatures."""
    signatures = {
        "classify": (tracer.classify, tracer.data_specs()),
        "encode": (tracer.encode, tracer.data_specs()),
    }
    if tracer.decoders():
        signatures["decode"] = tracer.decode, tracer.latent_specs()
    if tracer.can_generate():
        signatures["generate"] = tracer.generate, tracer.generate_specs()
    _write_saved_model(tracer, path, signatures)
    return list(signatures)


class _Tracer:
    """The graph's functions on tensors, its parameters constants but for those of Keras layers.

    Args:
        graph: The `Graph`, fitted.
        dtype: Precision of inputs and outputs.
        inner: Precision of messages between modules.
    """

    def __init__(self, graph, dtype, inner):
        self.graph, self.dtype, self.inner = graph, dtype, inner
        self.names = served_names(graph.names)
        self.row_sets = row_sets(graph.modules)
        self.observations = list(graph.observations.values())
        self.learners = [module for module in graph.modules if module not in self.observations]
        for module in self.learners:
            check_learned(module)
            if not module.has_tensor_rule:
                module.tensor_infer([], None)  # raises
        self.terms = rules.read_terms(self.learners, inner)
        self.samples = {}  # what belongs to samples beside data: (module, entry) to name and array
        beliefs = rules.probe(graph)
        for module in self.learners:
            sent = module.get_forward_msg()
            sent = beliefs.boxes[module].forward if sent is None else sent
            entries = module.sample_terms(len(sent))
            for entry, array in entries.items():
                self.samples[module, entry] = f"{self.names[module]}_{entry}", array
        try:
            rules.compare(graph, beliefs, self.terms, inner)
        except ValueError as error:
            raise ValueError(f"The graph cannot be exported: {error}") from error
        self.passing = Passing(graph, beliefs, inner)

    # Signatures -------------------------------------------------------------------------

    def data_specs(self):
        """What `classify` and `encode` take: observations and what else belongs to samples."""
        data = [
            tf.TensorSpec((None, *np.shape(module.data)[1:]), self.dtype, self.names[module])
            for module in self.observations
        ]
        return data + [
            tf.TensorSpec((None, *array.shape[1:]), array.dtype, name)
            for name, array in self.samples.values()
        ]

    def classify(self, *data):
        """What `Graph.predict` returns: {name: (N, K)} of the modules at the top."""
        state, unreadable = self._settle(data)
        return {
            self.names[top]: self._answer(top, state.answers[top], unreadable)
            for top in self.graph.tops
        }

    def encode(self, *data):
        """What every module concludes: latent means or class probabilities, and variances."""
        state, unreadable = self._settle(data)
        outputs = {}
        for module in self.learners:
            name = self.names[module]
            outputs[name] = self._answer(module, state.answers[module], unreadable)
            message = state.boxes[module].forward
            if isinstance(message, tensors.Gaussian) and message.variance is not None:
                outputs[f"{name}_variance"] = self._answer(module, message.variance, unreadable)
        return outputs

    def decoders(self):
        """The modules that say what their latent variable means for an observation."""
        return [
            module
            for module in self.learners
            if module.tensor_decode is not None
            and any(source_of(source) in self.observations for source in module.inputs)
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
            latent = tf.cast(latent, self.inner)
            parts = conclude(module.tensor_decode, self.terms[module], latent)
            for source, part in zip(module.inputs, parts, strict=True):
                if source_of(source) in self.observations and part is not None:
                    outputs[self.names[source_of(source)]] = tf.cast(part, self.dtype)
        return outputs

    def can_generate(self):
        """Whether every module below the only top draws what it reads."""
        drawn = [module for module in self.graph.modules if module.draws_inputs]
        return (
            len(self.graph.tops) == 1
            and self.graph.tops[0] in drawn
            and all(m in self.observations or m.tensor_generate is not None for m in drawn)
            and all(sum(m in reader.inputs for reader in drawn) == 1 for m in drawn[:-1])
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
            if not module.draws_inputs:
                continue
            pair = drawn[module], tf.stack([seed, index])
            parts = conclude(module.tensor_generate, self.terms[module], *pair)
            drawn |= dict(zip(module.inputs, parts, strict=True))
        return {
            self.names[module]: tf.cast(drawn[module], self.dtype) for module in self.observations
        }

    def _num_classes(self):
        posterior = source_of(self.graph.tops[0]).posterior
        return None if posterior is None else np.shape(posterior)[1]

    # Rows -------------------------------------------------------------------------------

    def _settle(self, data):
        """What is concluded of data, a `State`, and which rows of them cannot be read.

        Returns:
            `State`; dict from the number of a set of modules with equally many rows to (N,).
        """
        data, samples = data[: len(self.observations)], data[len(self.observations) :]
        data = dict(zip(self.observations, data, strict=True))
        terms = dict(self.terms)
        for (module, entry), tensor in zip(self.samples, samples, strict=True):
            terms[module] = terms[module]._replace(**{entry: tensor})
        unreadable = {}
        for module, part in data.items():
            rows = _unreadable_rows(part, module.may_have_gaps)
            number = self.row_sets[module]
            unreadable[number] = rows | unreadable[number] if number in unreadable else rows
            if module.valid_range is not None:
                data[module] = module.valid_range.apply_tensor(part)
        data = {m: _fill(part, unreadable[self.row_sets[m]]) for m, part in data.items()}
        for module in self.learners:
            if module.num_rows:  # what cannot be read in a row cannot in what it is part of
                below = tf.cast(unreadable[self.row_sets[module.inputs[0]]], self.inner)[:, None]
                sums = module.tensor_infer([below], None, terms[module]).evidence
                number, rows = self.row_sets[module], sums[:, 0] > 0.0
                unreadable[number] = rows | unreadable[number] if number in unreadable else rows
        return self.passing(data, terms), unreadable

    def _answer(self, module, message, unreadable):
        """What a signature returns for a message of a module: NaN where data could not be read."""
        message = tf.cast(tensors.as_array(message), self.dtype)
        return _fill(message, unreadable[self.row_sets[module]])


def _unreadable_rows(x, allow_gaps):
    """Which rows (N,) of data hold something that is no finite number, and are not missing."""
    if allow_gaps:
        x = tf.where(tf.math.is_nan(x), tf.zeros_like(x), x)
    axes = list(range(1, len(x.shape)))
    finite = tf.reduce_all(tf.equal(x - x, tf.zeros_like(x)), axis=axes)
    return ~finite & ~tensors.missing_rows(x)


def _fill(x, rows):
    """An array (N, ...) with NaN in some rows (N,)."""
    rows = tf.reshape(rows, [-1] + [1] * (len(x.shape) - 1))
    return tf.where(rows, tf.constant(float("nan"), x.dtype), x)


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


def _write_litert(path, tracer):
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
    _check_litert(content, tracer.data_specs())
    with files.writing(path) as file:
        file.write(content)
    return ["classify"]


def _check_litert(content, specs):
    """Raises ValueError unless an interpreter opens a LiteRT file and answers one sample."""
    plain = tf.lite.experimental.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    samples = {s.name: np.zeros((1, *s.shape[1:]), s.dtype.as_numpy_dtype) for s in specs}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that TensorFlow moves it to another package
            interpreter = tf.lite.Interpreter(
                model_content=content, experimental_op_resolver_type=plain
            )
            interpreter.get_signature_runner("classify")(**samples)
    except (RuntimeError, ValueError) as error:
        raise ValueError(
            "LiteRT converts this graph, but cannot run what comes of it: "
            f"{str(error).strip().splitlines()[0]} The cause may be a `tensor_infer` or a network "
            "of your own; layers with weights and reshapes to fixed sizes run. No file was "
            "written. Export a SavedModel instead."
        ) from error


def served_names(names):
    """Names as TensorFlow takes them, numbered where two become one.

    Args:
        names: Dict from module to its name in the graph.

    Returns:
        Dict from module to its name in an export.
    """
    identifiers = {}
    for module, name in names.items():
        base = tensors.identifier(name)
        numbered = (f"{base}_{number}" for number in itertools.count(2))
        candidates = itertools.chain([base], numbered)
        identifiers[module] = next(c for c in candidates if c not in identifiers.values())
    return identifiers
