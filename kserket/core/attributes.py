"""Attributes that check what they are set to."""

import pathlib
from collections.abc import Callable
from typing import Any

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
