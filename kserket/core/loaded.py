"""What a file says of a module, checked before any of it takes effect."""

import numbers

import keras
import numpy as np

from kserket.core import messages
from kserket.core.options import check_positive, check_positive_int, check_seed, is_whole

_MAX_NUMBER = 2**31


def check_state(module, state):
    """Checks the attributes of a module that a file holds.

    What a user's module keeps beside them it checks itself, in `set_state`.

    Args:
        module: The `Module`.
        state: Dict, as `get_state` returned it.

    Raises:
        ValueError: If one is of another kind than what a module has.
    """
    name, checks = module.get_name(), _ATTRIBUTES
    if type(module).__module__.startswith("kserket."):
        checks = {**_ATTRIBUTES, **_OF_FAMILIES}
    if not isinstance(state, dict):
        raise ValueError(f"the state of {name} is no dict.")
    for key, value in state.items():
        fits = checks.get(key)
        if fits is not None and not _holds(fits, value):
            raise ValueError(f"{name} cannot have {key}={_shortened(value)}.")


def check_whole(value, what, least=0):
    """Checks a whole number that a file holds.

    Args:
        value: What the file holds.
        what: What it is, for the error.
        least: The smallest that it may be.

    Returns:
        The number.

    Raises:
        ValueError: If it is not a whole number of that range.
    """
    if type(value) is not int or not least <= value < _MAX_NUMBER:
        raise ValueError(f"{what} cannot be {_shortened(value)}.")
    return value


def check_message(message, what):
    """Checks that something that a file holds can be a module's message.

    Args:
        message: What the file holds.
        what: What it is, for the error.

    Raises:
        ValueError: If it is neither None, nor a message, nor an array with a row per sample.
    """
    if message is not None and not _is_message(message):
        raise ValueError(f"{what} is no message, but {_shortened(message)}.")


def check_history(history, epochs):
    """Checks the history of a graph that a file holds.

    Args:
        history: Dict from the name of a figure to its values.
        epochs: The rounds that they are of.

    Raises:
        ValueError: If they are something else.
    """
    columns = history.values() if isinstance(history, dict) else [None]
    if not all(isinstance(column, list) for column in [*columns, epochs]):
        raise ValueError("its history holds something else than a list for each figure.")


def check_model(module, model):
    """Checks that a model that a file holds is one that the module could have.

    Args:
        module: The `Module`.
        model: The model, or None.

    Raises:
        ValueError: If it is of another class, or its weights cannot have been learned.
    """
    if model is None:
        return
    name = module.get_name()
    expected = keras.Model
    for cls in type(module).__mro__:  # what is built by the class that says how, or one above it
        expected = vars(cls).get("model_class") or expected
        if expected is not keras.Model or "build_model" in vars(cls):
            break
    if not isinstance(model, expected):
        raise ValueError(
            f"{name} cannot have a {type(model).__name__} for its model: it needs a "
            f"{expected.__name__}."
        )
    check_parameters(model, name)


def check_parameters(model, name):
    """Checks that the weights of a model can have been learned.

    Args:
        model: A Keras model, which may have a `check_parameters()` of its own.
        name: Whose model it is, for the error.

    Raises:
        ValueError: If a weight is not finite, or the model refuses them.
    """
    if not isinstance(model, keras.Model):
        return
    for weight in model.weights:
        value = weight.numpy()
        if value.dtype.kind in "fc" and not np.isfinite(value).all():
            raise ValueError(f"{name} cannot use a model whose {weight.path} is not finite.")
    if hasattr(model, "check_parameters"):
        model.check_parameters()


class NotSaved:
    """Stands for data that a file tells of but does not hold.

    Args:
        name: Name of the observation.
        description: What `describe_data` said of them.
    """

    def __init__(self, name, description):
        self.name, self.description = name, description
        self.shape = tuple(description["shape"])
        self.dtype = np.dtype(description["dtype"])
        sizes = [check_whole(size, "a size of data", least=1) for size in self.shape]
        if not sizes or self.dtype.kind not in "fiub":
            raise ValueError(f"the data of {name!r} are no numbers with one row per sample.")

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, index):
        return np.asarray(self)[index]

    def __array__(self, dtype=None, copy=None):
        raise RuntimeError(
            f"The data of {self.name!r} were not saved with the graph. To learn from them, load "
            f"it with load_graph(path, data={{{self.name!r}: x}})."
        )


def _is_message(value):
    return isinstance(value, (messages.Message, NotSaved)) or (
        isinstance(value, np.ndarray) and value.ndim > 0 and value.dtype.kind in "fiub"
    )


def _is_list(value, holds):
    return isinstance(value, (list, tuple)) and all(holds(part) for part in value)


def _is_real(value):
    return isinstance(value, numbers.Real)


def _is_flag(value):
    return isinstance(value, bool)


def _is_shapes(value):
    return _is_list(value, lambda shape: _is_list(shape, lambda size: is_whole(size)))


def _is_lengths(value):
    return is_whole(value, least=1) or np.asarray(value).dtype.kind in "iuf"


def _is_sizes(value):
    is_list = _is_list(value, _is_real) and len(value) == 4
    return is_list and is_whole(value[0]) and np.isfinite(value[1:3]).all() and _is_flag(value[3])


def _or_none(fits):
    return lambda value: value is None or _holds(fits, value)


def _is(*kinds):
    return lambda value: isinstance(value, kinds)


def _holds(fits, value):
    """Whether a check passes: one that answers, or one that raises."""
    try:
        answer = fits(value)
    except (TypeError, ValueError, OverflowError):
        return False
    return answer is None or answer is True or answer is value


_ATTRIBUTES = {
    "learnable": _is_flag,
    "trainable": _is_flag,
    "rounds": lambda value: type(value) is int and 0 <= value < _MAX_NUMBER,
    "logs": _is(dict),
    "mode": lambda value: value in ("learn", "recog"),
    "seed": _or_none(lambda value: check_seed(value) is not None),
    "seed_key": _is(str),
    "start": is_whole,
    "_owns_seed": _is_flag,
    "fingerprint": _or_none(_is(str)),
    "_belongs_to": _or_none(_is(str)),
    "text_limit": _or_none(is_whole),
    "_input_shapes": _or_none(_is_shapes),
    "_posterior": _or_none(_is(messages.Categorical)),
}
_OF_FAMILIES = {
    "itr": lambda value: check_positive_int(itr=value),
    "batch_size": _or_none(lambda value: check_positive_int(batch_size=value)),
    "learning_rate": lambda value: check_positive(learning_rate=value),
    "kl_weight": lambda value: check_positive(allow_zero=True, kl_weight=value),
    "kl_weights": lambda value: _is_list(value, _is_real) and len(value) == 2,
    "losses": lambda value: _is_list(value, _is_real),
    "lengths": _or_none(_is_lengths),
    "held": _or_none(_is_message),
    "columns": _or_none(lambda value: _is_list(value, lambda name: isinstance(name, str))),
    "sizes": _or_none(_is_sizes),
    "num_last": is_whole,
}


def _shortened(value):
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
