"""Keyword arguments: which a function takes, and what an unknown one may have meant."""

import contextlib
import difflib
import functools
import inspect
import re
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import keras

_Arguments = ParamSpec("_Arguments")
_Returned = TypeVar("_Returned")
KERAS_OPTIONS = {"name", "dtype", "trainable", "autocast", "activity_regularizer"}  # of models
_ELSEWHERE = {  # what other libraries call an option
    "epochs": ("rounds", "itr"),
    "itr": ("epochs", "rounds"),
    "rounds": ("epochs", "itr"),
    "max_iter": ("rounds", "itr", "epochs"),
    "num_components": ("K",),
    "n_components": ("K", "num_components"),
    "n_clusters": ("K", "num_components"),
    "batch_size": (),
    "intermediate_dim": ("hidden_encoder_dim", "encoder_units"),
    "num_topics": ("K",),
    "labels": ("category",),
    "learnable": ("mode",),
    "kl_weight": ("KL_param",),
    "tol": ("tolerance",),
    "random_state": ("seed",),
}


@functools.lru_cache
def keywords(cls: Any) -> frozenset[str]:
    """Names of what a class takes by keyword: by its constructor, and by those it passes on to.

    Args:
        cls: The class.

    Returns:
        Frozen set of strings.
    """
    known = set()
    for base in cls.__mro__:
        if "__init__" in vars(base) and base.__module__.partition(".")[0] != "keras":
            names, passes_on = _parameters(base.__init__)
            known |= names
            if not passes_on:
                break
    return frozenset(known)


def check_keywords(owner, given, known):
    """Checks that keyword arguments are options.

    Args:
        owner: Name of the class or function that was called.
        given: The keyword arguments.
        known: Names of its options.

    Raises:
        TypeError: If one is unknown. It suggests the nearest.
    """
    for name in given:
        if name not in known:
            near = [other for other in _ELSEWHERE.get(name, ()) if other in known]
            if name not in _ELSEWHERE:
                near += difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"Did you mean `{near[0]}`?" if near else f"It takes {', '.join(sorted(known))}."
            raise TypeError(f"{owner} has no option `{name}`. {hint}")


def suggests(function: Callable[_Arguments, _Returned]) -> Callable[_Arguments, _Returned]:
    """Decorates a function: an unknown keyword argument is a TypeError with the nearest name.

    Args:
        function: The function, or a method. If a method takes any keyword, those of the method of
            `keras.Model` that has its name are known, too.
    """
    known, passes_on = _parameters(function)
    if passes_on:
        known |= _parameters(getattr(keras.Model, function.__name__))[0]
    is_method = next(iter(inspect.signature(function).parameters)) == "self"
    suffix = "" if function.__name__ == "__init__" else f".{function.__name__}"

    @functools.wraps(function)
    def checked(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Returned:
        given = [name for name in kwargs if not name.startswith("_")]  # Keras passes some to itself
        owner = type(args[0]).__name__ + suffix if is_method else function.__name__
        check_keywords(owner, given, known)
        return function(*args, **kwargs)

    return checked


@contextlib.contextmanager
def in_words_of(cls, model, **names):
    """Errors of a model's constructor in the words of the module that was called.

    Args:
        cls: The module's class.
        model: The model's class.
        **names: The module's name of each option that the model calls otherwise.
    """
    try:
        yield
    except (TypeError, ValueError) as error:
        text = str(error).replace(model.__name__, cls.__name__)
        for option, name in names.items():
            text = re.sub(rf"\b{option}\b", name, text)
        raise type(error)(text) from error.__cause__


def _parameters(function):
    """Names that a function takes by keyword, without self, and whether it takes any other."""
    parameters = inspect.signature(function).parameters.values()
    named = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY
    names = {one.name for one in parameters if one.kind in named} - {"self"}
    return names, any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters)
