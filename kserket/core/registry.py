"""Names under which module classes are written to files, so that a file never names code."""

from collections.abc import Callable
from typing import TypeVar

_CLASSES: dict[str, type] = {}
_Class = TypeVar("_Class")


def register_module(
    package: str, name: str | None = None
) -> Callable[[type[_Class]], type[_Class]]:
    """Lets graphs with modules of a class be saved and loaded.

    A file holds the registered name, "package>Name", never the place of the code. Whoever loads
    the file imports the class first, and with it its registration.

    Args:
        package: Name of the package, or of whoever wrote the class.
        name: Name of the class in files; None is its own. Keep it when you rename the class.

    Returns:
        The decorator.

    Raises:
        TypeError: If something else than names and a class is given.
        ValueError: If another class has the name.

    Example:

    ```python
    import kserket as srk

    @srk.register_module("my_lab")
    class Doubler(srk.Module):
        def update(self):
            (x,) = self.get_observations()
            self.set_forward_msg(2.0 * x)
    ```
    """
    if not isinstance(package, str) or not isinstance(name, (str, type(None))):
        raise TypeError(
            "register_module takes the name of your package: @kserket.register_module('my_lab'). "
            f"Received: {package!r}, {name!r}"
        )

    def register(cls: type[_Class]) -> type[_Class]:
        if not isinstance(cls, type):
            raise TypeError(f"register_module decorates a class. Received: {cls!r}")
        key = f"{package}>{name or cls.__name__}"
        other = _CLASSES.get(key)
        if other is not None and _place(other) != _place(cls):
            raise ValueError(
                f"{key} is the name of {'.'.join(_place(other))} already. Give "
                f"{'.'.join(_place(cls))} another: register_module({package!r}, name=...)."
            )
        _CLASSES[key] = cls
        return cls

    return register


def registered_name(cls) -> str:
    """The name under which a class is registered.

    Args:
        cls: A module class.

    Returns:
        "package>Name".

    Raises:
        ValueError: If it is not registered.
    """
    for key, registered in _CLASSES.items():
        if registered is cls:
            return key
    raise ValueError(
        f"{'.'.join(_place(cls))} is not registered, so a file could not name it. "
        "Put @kserket.register_module('your_package') above the class."
    )


def registered_class(key: str) -> type:
    """The class of a registered name.

    Args:
        key: "package>Name".

    Raises:
        ValueError: If there is none.
    """
    if key not in _CLASSES:
        raise ValueError(
            f"the module class {key!r} is not known here. Import the file that defines it before "
            "loading; the class needs the line "
            f"@kserket.register_module({str(key).partition('>')[0]!r}) above it."
        )
    return _CLASSES[key]


def _place(cls):
    return cls.__module__, cls.__qualname__
