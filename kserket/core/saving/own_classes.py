"""Classes and functions of a user's own in a Keras model: whether a file could name them."""

import inspect

import keras

_KERAS = {"keras", "keras_hub", "keras_cv", "keras_nlp"}  # what Keras imports by itself


def check_found_again(model, where):
    """Checks that Keras could make a model again of what it would write to a file.

    Nothing is made here: making layers would draw random numbers.

    Args:
        model: Keras model.
        where: What it is, for the error.

    Raises:
        TypeError: If a part has no `get_config` that Keras can write.
        ValueError: If a class or function is not registered, is a Python lambda, or has a
            constructor that does not take what its `get_config` returns.
    """
    try:
        config = keras.saving.serialize_keras_object(model)
    except NotImplementedError as error:
        reason = " ".join(str(error).partition("Example:")[0].split())
        raise TypeError(f"{where} cannot be saved. {reason}") from error
    for entry in _entries(config):
        fault = _fault(entry)
        if fault:
            raise ValueError(f"{where} could not be loaded from a file. {fault}")


def _entries(value):
    """The dicts in which Keras describes an object, in a config."""
    if isinstance(value, dict):
        if "class_name" in value and "config" in value:
            yield value
        for part in value.values():
            yield from _entries(part)
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _entries(part)


def _fault(entry):
    """Why an object could not be made again, and what helps; None if it could."""
    name, config, module = entry["class_name"], entry["config"], entry.get("module") or ""
    if name == "__lambda__":
        return (
            "It holds a Python lambda, and no code of a file is run. Use layers, or a function "
            "below @keras.saving.register_keras_serializable()."
        )
    if name == "function":
        try:
            keras.saving.deserialize_keras_object(entry)
        except (TypeError, ValueError):
            return f"The function {config} is not registered. {_register(config)}"
    key = entry.get("registered_name")
    if key is None or name == "function" or module.partition(".")[0] in _KERAS:
        return None
    cls = keras.saving.get_registered_object(key)
    if cls is None:
        return f"The class {name} is not registered. {_register(name)}"
    inherits = getattr(cls.from_config, "__module__", "").startswith("keras.")
    if inherits and isinstance(config, dict) and "input_layers" not in config:
        try:
            inspect.signature(cls.__init__).bind(None, **config)
        except TypeError as error:
            return (
                f"The constructor of {name} does not take what its get_config() returns: "
                f"{error}. Let it take **kwargs for super().__init__(**kwargs), or define "
                "get_config() to return its arguments alone."
            )
    return None


def _register(name):
    return (
        "Put @keras.saving.register_keras_serializable() above it. To save this one call "
        f"keras.saving.register_keras_serializable()({name}) first."
    )
