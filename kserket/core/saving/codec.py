"""Values as JSON, arrays and Keras models, and back."""

import contextlib
import math
import os
import pathlib

import keras
import numpy as np
import tensorflow as tf

from kserket.core import messages
from kserket.core.saving.own_classes import check_found_again

_MESSAGES = {
    kind.__name__: kind for kind in (messages.Categorical, messages.Gaussian, messages.Mixture)
}


class Packer:
    """Takes values apart: JSON is returned; arrays and models are collected.

    An object that comes twice is kept once.

    Attributes:
        arrays: List of arrays.
        models: List of Keras models.
    """

    def __init__(self):
        self.arrays, self.models = [], []
        self._known = {}  # id -> (object, its JSON); the object is held, so that ids stay its own

    def refer(self, data, number):
        """Writes data, wherever they come from now on, as their number only.

        Args:
            data: The object.
            number: What `Unpacker.refer` is given with the same data.
        """
        self._known[id(data)] = data, {"$data": number}

    def pack(self, value, where):
        """JSON that stands for a value.

        Args:
            value: None, numbers, strings, paths, arrays, messages, Keras models;
                lists, tuples and dicts of these.
            where: What it is, for errors.

        Raises:
            TypeError: If it is something else.
        """
        if value is None or type(value) in (bool, int, float, str):
            return value
        if isinstance(value, np.generic) and not isinstance(value, np.void):
            return self.pack(value.item(), where)
        if isinstance(value, pathlib.PurePath):
            return {"$path": str(value)}
        if isinstance(value, list):
            return self._items(value, where)
        if type(value) is tuple:
            return {"$tuple": self._items(value, where)}
        if isinstance(value, dict):
            if not all(isinstance(key, str) and not key.startswith("$") for key in value):
                raise TypeError(f"{where} has keys that are no plain strings: {list(value)[:5]}")
            return {key: self.pack(part, f"{where}[{key!r}]") for key, part in value.items()}
        if id(value) not in self._known:
            self._known[id(value)] = value, self._pack_object(value, where)
        return self._known[id(value)][1]

    def _items(self, values, where):
        return [self.pack(part, f"{where}[{index}]") for index, part in enumerate(values)]

    def _pack_object(self, value, where):
        if isinstance(value, messages.Deferred):
            return self.pack(value.array, where)
        if type(value) in _MESSAGES.values():
            return {"$message": type(value).__name__, **self.pack(value.to_arrays(), where)}
        if isinstance(value, np.ndarray):
            return self._pack_array(value, where)
        if isinstance(value, keras.Model):
            check_found_again(value, where)
            self.models.append(value)
            index = len(self.models) - 1
            return {"$model": index, "random": self.pack(_random_states(value), where)}
        raise TypeError(
            f"{where} is a {type(value).__name__}, which cannot be saved. Use numbers, strings, "
            "arrays, messages, Keras models, or lists and dicts of these; or write get_config() "
            "or get_state() to return such."
        )

    def _pack_array(self, array, where):
        packed = {"$array": len(self.arrays)}
        if array.dtype.kind == "O" and all(isinstance(item, str) for item in array.flat):
            array = array.astype(str)
        if array.dtype.kind == "U":
            packed["text"] = max(1, array.dtype.itemsize // 4)
            array = np.ascontiguousarray(array, f"=U{packed['text']}")
            array = array.view("uint32").reshape(*array.shape, packed["text"])
        if array.dtype.kind in "mM":
            packed["time"], array = array.dtype.str, array.view("int64")
        if array.dtype.kind not in "fiubcS" or array.dtype.itemsize == 0:
            raise TypeError(f"{where} is an array of dtype {array.dtype}, which cannot be saved.")
        if not array.flags.c_contiguous:  # results depend, in the last bit, on the order in memory
            order = sorted(range(array.ndim), key=lambda axis: -array.strides[axis])
            if order != sorted(order):
                packed["order"], array = order, array.transpose(order)
        self.arrays.append(array)
        return packed


class Unpacker:
    """Puts together what a `Packer` took apart.

    Args:
        get_array: Function from number to array.
        get_model: Function from number to the path of a `.keras` file.
    """

    def __init__(self, get_array, get_model):
        self._get_array, self._get_model = get_array, get_model
        self._known = {}

    def refer(self, data, number):
        """Puts data where `Packer.refer` wrote a number.

        Args:
            data: The object.
            number: The number.
        """
        self._known["$data", number] = data

    def unpack(self, packed):
        """The value that JSON stands for.

        Args:
            packed: What `Packer.pack` returned.

        Raises:
            ValueError: If it is damaged.
        """
        if isinstance(packed, list):
            return [self.unpack(part) for part in packed]
        if not isinstance(packed, dict):
            return packed
        kind = next((key for key in packed if key.startswith("$")), None)
        if kind is None:
            return {key: self.unpack(part) for key, part in packed.items()}
        if kind == "$path":
            return pathlib.Path(packed[kind])
        if kind == "$tuple":
            return tuple(self.unpack(packed[kind]))
        if kind == "$message" and packed[kind] in _MESSAGES:
            arrays = {key: part for key, part in packed.items() if key != kind}
            return _MESSAGES[packed[kind]].from_arrays(self.unpack(arrays))
        if kind not in ("$array", "$model", "$data") or not isinstance(packed[kind], int):
            raise ValueError(f"its graph.json holds an unknown kind of value, {kind}.")
        key = kind, packed[kind]
        if kind == "$data" and key not in self._known:
            raise ValueError("its graph.json names data of an observation that is not there.")
        if key not in self._known:
            read = self._unpack_array if kind == "$array" else self._unpack_model
            self._known[key] = read(packed)
        return self._known[key]

    def _unpack_array(self, packed):
        array = self._get_array(packed["$array"])
        if "order" in packed:
            array = array.transpose(np.argsort(packed["order"]))
        if "text" in packed:
            array = np.ascontiguousarray(array, "uint32").view(f"=U{packed['text']}")[..., 0]
        if "time" in packed:
            kind = np.dtype(packed["time"])
            if kind.kind not in "mM" or array.dtype.kind != "i" or array.itemsize != 8:
                raise ValueError("its graph.json holds an array that is no time.")
            array = array.view(kind)
        return array

    def _unpack_model(self, packed):
        path = self._get_model(packed["$model"])
        try:
            with _no_larger_than(os.path.getsize(path)):
                model = keras.saving.load_model(path, safe_mode=True)
        except TypeError as error:
            raise ValueError(
                f"Keras cannot make model {packed['$model']} again ({str(error).strip()}). Import "
                "the file that defines its classes before loading, with "
                "@keras.saving.register_keras_serializable() above each as when it was saved. A "
                "class Encoder that had no such line then is found in `with "
                'keras.saving.custom_object_scope({"Encoder": Encoder}):`. Its constructor must '
                "take what its get_config() returns: **kwargs for Keras' own arguments."
            ) from error
        states = self.unpack(packed["random"])
        for variable, state in zip(_random_variables(model), states, strict=True):
            variable.assign(state)
        return model


@contextlib.contextmanager
def _no_larger_than(size):
    """ValueError before variables are made that no file of this size holds the values of.

    Those of an optimizer and of metrics may be many times as large as the weights, and are not in
    the file of a model that has not been trained.
    """
    room, total = 8 * size + 2**20, 0

    def create(next_creator, **options):
        nonlocal total
        total += _num_bytes(options.get("initial_value"))
        check()
        return next_creator(**options)

    def check():
        if total > room:
            raise ValueError(
                f"a model would have {total} bytes of weights, and its file has {size}: the sizes "
                "in it are not those of what it holds."
            )

    try:
        with tf.variable_creator_scope(create):
            yield
    finally:
        check()  # Keras goes on after an error in build()


def _num_bytes(initial_value):
    """Bytes of a variable's initial value, which is not computed; 0 if they cannot be told."""
    if initial_value is None:
        return 0
    try:
        with tf.Graph().as_default():
            value = initial_value() if callable(initial_value) else initial_value
        return math.prod(value.shape) * value.dtype.size
    except Exception:  # a value that is there already, such as another variable's
        return 0


def _random_states(model):
    return [variable.value.numpy() for variable in _random_variables(model)]


def _random_variables(model):
    """The states of a model's random generators, which Keras does not save."""
    weights = {id(weight) for weight in model.weights}
    return [variable for variable in model.variables if id(variable) not in weights]
