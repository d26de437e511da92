"""Arguments as Serket's scripts write them, read as those of today."""

import functools
import inspect
import warnings
from collections import ChainMap
from collections.abc import Callable
from typing import Any

from kserket.core.options import shown


def understood(init: Callable[..., None], cls: type) -> Callable[..., None]:
    """A constructor that takes former names of its arguments, too, and warns of them.

    A class says in `former_names` what stands for a former name: a name of today; a dict from
    values to dicts of today's arguments; a function from a value and all arguments by name to such
    a dict; or None, where nothing does any more. Its
    `former_order(args)`, if it defines one, gives the names of positional arguments that come in
    a former order, or None where they do not.

    Args:
        init: The function `__init__` that `cls` defines.
        cls: The class.

    Returns:
        The function itself if none of the names concern it. Else one with an attribute
        `in_words_of_today`, a function from `args, kwargs` to these as `init` takes them.
    """
    table = ChainMap(*(vars(base).get("former_names", {}) for base in cls.__mro__))
    own = inspect.signature(init).parameters
    table = {
        name: now
        for name, now in table.items()
        if name not in own and (isinstance(now, str) and now in own or name in _own_names(cls))
    }
    if not table:
        return init
    order = vars(cls).get("former_order", lambda args: None)

    def in_words_of_today(args, kwargs):
        names = order(args)
        if names is not None and not kwargs.keys() & set(names[: len(args)]):
            args, kwargs = (), {**dict(zip(names, args, strict=False)), **kwargs}
        former = {name: kwargs[name] for name in kwargs if name in table}
        rest = {name: value for name, value in kwargs.items() if name not in table}
        now = {}
        for name, value in former.items():
            now |= _now(cls, name, table[name], value, kwargs)
        return args, now | rest, former, now

    @functools.wraps(init)
    def taking_former_names(self, *args, **kwargs):
        args, kwargs, former, now = in_words_of_today(args, kwargs)
        if former:
            kind = cls.__name__
            text = f"{kind}({_text(former)}) is read as {kind}({_text(now)})."
            if kwargs.get("load_dir") is not None and "mode" not in kwargs:
                text += " With load_dir= it goes on learning; mode='recog' recognizes."
            warnings.warn(text, stacklevel=2)
        init(self, *args, **kwargs)

    vars(taking_former_names).update(
        in_words_of_today=lambda *given: in_words_of_today(*given)[:2],
        former_names=frozenset(table),
    )
    return taking_former_names


def in_words_of_today(
    cls: type, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Arguments of a constructor in the words of today, without a warning.

    Args:
        cls: The class.
        args: Tuple.
        kwargs: Dict.

    Returns:
        `args, kwargs`.
    """
    init: Any = inspect.getattr_static(cls, "__init__")
    translate = getattr(init, "in_words_of_today", None)
    return (args, kwargs) if translate is None else translate(args, kwargs)


def former_names(cls: type) -> set[str]:
    """All former names that a constructor takes, or passes on to one below it.

    Args:
        cls: The class.

    Returns:
        Set of strings.
    """
    names: set[str] = set()
    for base in cls.__mro__:
        init = vars(base).get("__init__")
        if init is not None:
            names |= getattr(init, "former_names", frozenset())
            parameters = inspect.signature(init).parameters.values()
            if not any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters):
                break  # nothing is passed on to the classes below
    return names


def _own_names(cls):
    return vars(cls).get("former_names", {})


def _now(cls, name, now, value, given):
    """Today's arguments for one of a former name."""
    if now is None:
        return {}
    if isinstance(now, str):
        return {now: value}
    if callable(now):
        return now(value, given)
    if not isinstance(value, str) or value not in now:
        words = " or ".join(map(repr, now))
        raise ValueError(
            f"`{name}` of a {cls.__name__} must be {words}. Received: {name}={shown(value)}"
        )
    return now[value]


def _text(arguments):
    return ", ".join(f"{name}={shown(value)}" for name, value in arguments.items())
