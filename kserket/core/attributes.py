"""Attributes that check what they are set to, and objects that know what they were made with."""

from __future__ import annotations

import inspect
import pathlib
from collections.abc import Callable
from typing import Any, ClassVar, Self

from kserket.core.former import former_names, in_words_of_today, understood
from kserket.core.keywords import check_keywords, keywords
from kserket.core.options import check_path
from kserket.typing import PathLike


class Fixed:
    """An attribute that only the constructor sets."""

    def __set_name__(self, owner, name):
        self.name = name

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        if instance is None:
            return self
        try:
            return vars(instance)[self.name]
        except KeyError:
            raise AttributeError(f"`{self.name}` has not been set yet.") from None

    def __set__(self, instance: object, value: Any) -> None:
        if self.name in vars(instance):
            refuse_change(instance, self.name)
        vars(instance)[self.name] = value


class FixedOrFound(Fixed):
    """As `Fixed`; where the constructor set None, what the instance's model has found.

    Args:
        name_in_model: The model's attribute, which is None until then.
    """

    def __init__(self, name_in_model):
        self.name_in_model = name_in_model

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        value = super().__get__(instance, owner)
        if value is None:
            return getattr(vars(instance).get("model"), self.name_in_model, None)
        return value


class ReadOnly:
    """An attribute that shows another one, and is not set.

    Args:
        name: The name of the other.
    """

    def __init__(self, name):
        self.shown = name

    def __set_name__(self, owner, name):
        self.name = name

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        return self if instance is None else getattr(instance, self.shown)

    def __set__(self, instance: object, value: Any) -> None:
        refuse_change(instance, self.name)


class Folder:
    """An attribute that holds a `pathlib.Path` or None, and is checked when it is set."""

    def __set_name__(self, owner, name):
        self.name = name

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        return self if instance is None else vars(instance)[self.name]

    def __set__(self, instance: object, value: PathLike | None) -> None:
        if value is not None:
            check_path(**{self.name: value})
        vars(instance)[self.name] = None if value is None else pathlib.Path(value)


def refuse_change(instance, name):
    """Raises AttributeError for an option that cannot be changed.

    Args:
        instance: Whose option it is.
        name: Its name.
    """
    kind = type(instance).__name__
    raise AttributeError(
        f"`{name}` of a {kind} is fixed when it is made. Make a new one: {kind}({name}=...)."
    )


class OwnFolder:
    """What writes files into a folder of its own.

    Attributes:
        save_dir: The folder in which its own is made, or None: it writes nothing.
    """

    save_dir = Folder()
    get_name: Callable[..., str]

    @property
    def folder(self) -> pathlib.Path | None:
        """The folder of this module's files, or None."""
        return None if self.save_dir is None else self.save_dir / self.get_name()


class Configurable:
    """Remembers the arguments of the constructor, refuses unknown ones, and later changes of them.

    Attributes:
        model_class: Whose options the constructor takes, too, if it takes any by **kwargs.
        former_names: Dict from names that arguments had in Serket to those they have now.
    """

    _arguments: tuple[tuple[Any, ...], dict[str, Any]]
    model_class: type | None = None
    former_names: ClassVar[dict[str, Any]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "__init__" in vars(cls):
            cls.__init__ = understood(cls.__init__, cls)  # type: ignore[method-assign]

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        args, kwargs = in_words_of_today(cls, args, kwargs)
        parameters = inspect.signature(cls.__init__).parameters.values()
        passes_on = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters)
        passed_on = keywords(cls.model_class) if passes_on and cls.model_class else frozenset()
        if passed_on or not passes_on:
            known = keywords(cls) | passed_on | former_names(cls)
            check_keywords(cls.__name__, kwargs, known)
        self = super().__new__(cls)
        self._arguments = args, kwargs  # for get_config
        return self

    def __setattr__(self, name: str, value: Any) -> None:
        model = type(self).model_class
        if model is not None and not hasattr(type(self), name) and name in keywords(model):
            refuse_change(self, name)
        super().__setattr__(name, value)

    def _given(self) -> dict[str, Any]:
        """Numbers, strings and switches that the caller chose, by name."""
        args, kwargs = self._arguments
        names = list(inspect.signature(type(self).__init__).parameters)[1:]
        given = dict(zip(names, args, strict=False)) | kwargs
        plain = {n: v for n, v in given.items() if isinstance(v, (bool, int, float, str))}
        return {n: v for n, v in plain.items() if n not in ("name", "save_dir", "load_dir")}

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, by name, from which `from_config` makes the module again.

        They are remembered when a module is made; write this method where that is not enough.

        Returns:
            Dict of numbers, strings, arrays, Keras models, lists and dicts of these.
        """
        args, kwargs = self._arguments
        signature = inspect.signature(type(self).__init__)
        bound = signature.bind(self, *args, **kwargs)
        bound.apply_defaults()
        config: dict[str, Any] = {}
        for name, value in list(bound.arguments.items())[1:]:
            kind = signature.parameters[name].kind
            if kind is inspect.Parameter.VAR_KEYWORD:
                config |= value
            elif kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.POSITIONAL_ONLY):
                raise TypeError(
                    f"{type(self).__name__} takes arguments without names (*{name}). To be saved "
                    "it must define get_config() and from_config()."
                )
            else:
                config[name] = value
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """A new module from what `get_config` returned.

        Args:
            config: The dict.
        """
        return cls(**config)
