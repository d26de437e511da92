"""`Autoencoder.fit`: what it checks first, which loop it takes, what it undoes."""

import math
import warnings
import zlib

import keras
import numpy as np

from kserket import hosts, storage
from kserket.core import compiled_loop
from kserket.core.autoencoder import batches
from kserket.core.autoencoder.host_evaluation import mean_terms, num_hosts
from kserket.core.autoencoder.inputs import by_name, check, is_arrays
from kserket.core.autoencoder.standardization import array_batches, in_single, is_exact_in_single
from kserket.core.host_group import group_of
from kserket.core.options import check_nonnegative_int, check_positive_int, check_verbose
from kserket.core.parameters import has_finite_weights, restored
from kserket.core.user_line import user_level
from kserket.inference import outliers

PROBED = 256  # samples of which the decoder's numbers are looked at
# What the compiled loop takes, beside the data. `validation_*` concern evaluate().
_OPTIONS = {
    *("batch_size", "epochs", "verbose", "callbacks", "shuffle", "initial_epoch"),
    *("validation_freq", "validation_batch_size", "validation_steps"),
}


def _check_options(options):
    """Raises ValueError if numbers that `keras.Model.fit` takes are none; None is its default."""
    counts = "epochs", "initial_epoch"
    check_nonnegative_int(**{name: options[name] for name in counts if name in options})
    sizes = "batch_size", "validation_batch_size", "steps_per_epoch", "validation_steps"
    given = {name: options[name] for name in sizes if options.get(name) is not None}
    check_positive_int(**given)
    options.update({name: int(size) for name, size in given.items()})
    if "verbose" in options:
        check_verbose(options["verbose"])


def fit(model, x, y, sample_weight, validation_data, validation_split, class_weight, options):
    """Trains an `Autoencoder`; see its `fit`.

    Args:
        model: The `Autoencoder`.
        x: Inputs.
        y: None, or x.
        sample_weight: (N,) or None.
        validation_data: Inputs, or a tuple of inputs, y and weights, or None.
        validation_split: Share of the samples.
        class_weight: None.
        options: Dict of what else `keras.Model.fit` takes.

    Returns:
        A `keras.callbacks.History`.
    """
    if class_weight is not None:
        raise ValueError(
            f"`class_weight` is for models of classes, which a {type(model).__name__} has none of. "
            "Use `sample_weight`, one number per sample."
        )
    _check_options(options)
    if is_arrays(x):
        x, y, sample_weight = check(model, x, y, sample_weight)
        validation_data = _check_validation(model, validation_data)
        if validation_split and validation_data is None:
            (x, y, sample_weight), validation_data = _split((x, y, sample_weight), validation_split)
        first, samples = x, array_batches(x["x"], sample_weight)
    else:
        validation_data = _check_validation(model, validation_data)
        batch, x = batches.first_batch(x, batches.expected(model))
        first = None if batch is None else batches.unpacked(batch)[0]
        samples = batches.weighted_samples(
            batch if hasattr(x, "__next__") else x,
            options.get("steps_per_epoch"),
            model.input_names,
        )
        options = {**options, "validation_split": validation_split}
    if first is not None:
        model.build_for(by_name(first, model.input_names)["x"])
    with restored(model), batches.own_errors():
        if first is not None and model.likelihood == "gaussian":
            if not model.standardization.is_adapted:
                if is_arrays(x):
                    warn_of_outliers(model, x["x"])
                model.standardization.adapt(samples)
        history = _train(model, x, y, sample_weight, validation_data, options)
        losses = history.history.get("loss", [])
        if losses and not (np.isfinite(losses[-1]) and has_finite_weights(model)):
            raise FloatingPointError(
                f"{model.name} has diverged: its loss is {losses[-1]}, or its weights are not "
                "finite. It is what it was before this fit. Lower the learning rate, or scale "
                "the data."
            )
    if is_arrays(x):
        warn_of_probabilities(model, x["x"])
    return history


def _train(model, x, y, sample_weight, validation_data, options):
    """Training by the compiled loop where it can, else by Keras' own."""
    if is_arrays(x) and _suits_compiled_loop(model, options):
        batch_size = options.get("batch_size") or 32
        data = (x,) if y is None else (x, y) if sample_weight is None else (x, y, sample_weight)
        return compiled_loop.fit(
            model,
            data,
            batch_size,
            options.get("epochs", 1),
            _shuffling_seed(model),
            options.get("callbacks") or (),
            tuple(dtypes(model, part) for part in data),
            initial_epoch=options.get("initial_epoch", 0),
            shuffle=options.get("shuffle", True),
            verbose=options.get("verbose", "auto"),
            validate=_validation(model, validation_data, options),
        )
    if num_hosts(model) > 1:
        raise ValueError(
            f"{model.name} learns from arrays on several hosts, in its compiled loop: give arrays "
            "instead of datasets, and no callbacks or options that act at each batch."
        )
    x, y, sample_weight = for_keras(model, x, y, sample_weight)
    return keras.Model.fit(
        model, x, y, sample_weight=sample_weight, validation_data=validation_data, **options
    )


def for_keras(model, x, y=None, sample_weight=None):
    """Inputs, target and weights in the form that Keras' own loops take, checked.

    Args:
        model: `Autoencoder`.
        x: As in its `fit`.
        y: As in its `fit`.
        sample_weight: Optional (N,).
    """
    if not is_arrays(x):
        return batches.checked(x, batches.expected(model)), y, sample_weight
    x, y, sample_weight = check(model, x, y, sample_weight)
    return in_single(x, model.likelihood), y, sample_weight


def _shuffling_seed(model):
    """An integer that follows from the model's random state, which every step moves on."""
    state = keras.ops.convert_to_numpy(model.seed_generator.state)
    return zlib.crc32(state.tobytes()) % 2**31


def _suits_compiled_loop(model, options):
    """Whether the compiled loop does what these options of `keras.Model.fit` ask for."""
    return (
        options.keys() <= _OPTIONS
        and options.get("shuffle", True) in (True, False)
        and isinstance(options.get("batch_size") or 32, (int, np.integer))
        and isinstance(options.get("validation_freq", 1), (int, np.integer))
        and not (keras.config.max_epochs() or keras.config.max_steps_per_epoch())
        and compiled_loop.can_fit(model, options.get("callbacks"))
    )


def dtypes(model, part):
    """The types in which the compiled loop hands arrays to a model.

    Args:
        model: `Autoencoder`.
        part: Array, or dict of arrays.
    """
    if isinstance(part, dict):
        return {name: dtypes(model, value) for name, value in part.items()}
    is_exact = model.likelihood == "bernoulli" or is_exact_in_single(part.dtype)
    return "float32" if is_exact else "float64"


def warn_of_outliers(model, x):
    """Warns of values of a table beside which others of their column are next to equal.

    Args:
        model: `Autoencoder`.
        x: Array (N, ...) that it learns location and scale from.
    """
    if x.ndim != 2:
        return
    _, text = outliers.find(x, model.columns)
    if text is not None:
        warnings.warn(
            f"{model.name}: {text}. Beside them the other values of a column are next to equal, so "
            "that it says nothing else. If they are errors, or stand for what was not observed, "
            "leave their rows out, or impute them.",
            stacklevel=user_level(),
        )


def warn_of_probabilities(model, x):
    """Warns where a decoder's logits look like probabilities.

    Args:
        model: `Autoencoder`.
        x: Array (N, ...) that it learned from.
    """
    if not model.reads_given_logits:
        return
    latent = model.expected_latent(storage.read(x, slice(PROBED)))
    decoded = keras.ops.convert_to_numpy(model.decoder_output(latent))
    if (decoded >= 0).all() and (decoded <= 1).all():
        warnings.warn(
            f"All {decoded.size} numbers that the decoder of {model.name} returned for the data "
            "lie in [0, 1]. It seems to return probabilities, and they are read as logits. Leave "
            "its last activation out, or end it in a sigmoid of Keras or TensorFlow.",
            stacklevel=4,
        )


def _validation(model, data, options):
    """Function from an epoch and the callbacks to its validation figures; None without data."""
    if data is None:
        return None
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)

    def validate(epoch, callbacks):
        if (epoch + 1) % options.get("validation_freq", 1):
            return {}
        if num_hosts(model) > 1:
            with hosts.together(group_of(model.distribute_strategy)):
                figures = mean_terms(model, x, sample_weight)
                values = hosts.from_first_host(list(figures.values()))
            return {f"val_{name}": value for name, value in zip(figures, values, strict=True)}
        figures = keras.Model.evaluate(
            model,
            x,
            y,
            sample_weight=sample_weight,
            batch_size=options.get("validation_batch_size") or options.get("batch_size"),
            steps=options.get("validation_steps"),
            callbacks=callbacks,
            return_dict=True,
        )
        return {f"val_{name}": value for name, value in figures.items()}

    return validate


def _check_validation(model, data):
    """`validation_data` in the form that Keras takes, checked."""
    if data is None:
        return None
    try:
        return _validation_data(model, data)
    except (TypeError, ValueError) as error:
        raise type(error)(f"`validation_data`: {error}") from error


def _validation_data(model, data):
    """Inputs, or `(inputs, y, sample_weight)`, in the form that Keras takes, checked."""
    if isinstance(data, list):
        data = tuple(data)
    if not isinstance(data, tuple):
        data = (data,)
    if not data:
        raise ValueError("it is empty. Give inputs, or (inputs, None, sample_weight).")
    if not is_arrays(data[0]):
        return batches.checked(data[0], batches.expected(model, "validation_data"))
    x, y, weight = (*data, None, None)[:3]
    x, y, weight = check(model, x, y, weight, "The second entry of `validation_data`")
    x = in_single(x, model.likelihood)
    return (x, y) if weight is None else (x, y, weight)


def _split(data, share):
    """The first and the last samples of nested arrays (N, ...), as Keras splits them."""
    num_samples = len(keras.tree.flatten(data[0])[0])
    first = math.floor(num_samples * (1.0 - share))
    if not 0 < first < num_samples:
        raise ValueError(
            "`validation_split` must leave samples on both sides. Received: "
            f"validation_split={share} of {num_samples} samples."
        )

    def part(rows):
        return keras.tree.map_structure(lambda leaf: None if leaf is None else leaf[rows], data)

    return part(slice(first)), part(slice(first, None))
