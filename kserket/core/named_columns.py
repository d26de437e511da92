"""Keras models that read DataFrames by the names of their columns."""

import contextlib
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np

from kserket.core.columns import in_order, names_of
from kserket.core.frames import as_frame, import_pandas, index_of
from kserket.core.options import check_flag
from kserket.row_names import check_row_order, row_names_of

_LIKE = {"variance": "x", "mu_variance": "mu"}  # parts with the columns of another one


class NamedColumns(keras.Model):
    """Base of the models whose `fit` remembers the columns of DataFrames.

    Whatever DataFrame comes later is read by these names; arrays go by the place of their columns.
    """

    _columns: dict[str, list[str]] = {}  # noqa: RUF012 names by part of the inputs; never changed
    _reads_several = False  # whether x may be a list of parts

    @property
    def columns(self) -> Any:
        """Names of the columns of the x that it learned from, a list; None where it has none.

        A list of these, one for each modality, where there are several.
        """
        if not self._reads_several:
            return self._columns.get("x")
        names = {part: own for part, own in self._columns.items() if _is_modality(part)}
        last = max((int(part[2:]) for part in names), default=-1)
        return [names.get(f"x/{number}") for number in range(last + 1)] or None

    def take_columns(self, names: list[list[str] | None]) -> None:
        """Takes the names of the columns of what a module reads.

        Args:
            names: A list of names for each input, or None.
        """
        names = names if self._reads_several else names[:1]
        parts = [f"x/{number}" if self._reads_several else "x" for number in range(len(names))]
        self._columns = {part: own for part, own in zip(parts, names, strict=True) if own}

    def by_columns(self, inputs: Any) -> Any:
        """Inputs with the columns of DataFrames in the order of those it learned from.

        Args:
            inputs: What `fit` takes; without DataFrames it is returned unchanged.

        Raises:
            ValueError: If the columns are not these.
        """
        parts = self._parts(inputs)
        check_row_order(*((self._who(name), row_names_of(part)) for name, part in parts.items()))
        if not any(names_of(part) for part in parts.values()):
            return inputs
        ordered = {
            name: in_order(part, self._columns.get(_LIKE.get(name, name)), self._who(name))
            for name, part in parts.items()
        }
        if self._reads_several:
            several = [ordered.pop(name) for name in parts if _is_modality(name)]
            ordered["x"] = several
        return ordered

    @contextlib.contextmanager
    def learning_columns(self, inputs: Any) -> Iterator[None]:
        """Within it, and after it unless an error is raised, the columns of inputs are known.

        Args:
            inputs: What `fit` takes.
        """
        before = self._columns
        found = {}
        for name, part in self._parts(inputs).items():
            names = names_of(part)
            if names and name not in _LIKE:
                found[name] = names
        if found.keys() - before.keys():
            self._columns = {**found, **before}
        try:
            yield
        except Exception:
            self._columns = before
            raise

    def framing(self, inputs: Any, is_wanted: bool) -> Callable[..., Any]:
        """How answers become DataFrames, if they shall.

        Args:
            inputs: What `fit` takes, whose index is kept.
            is_wanted: The option `as_frame`.

        Returns:
            Function of an answer (N, D), its name, and perhaps the names of its columns.
        """
        check_flag(as_frame=is_wanted)
        if not is_wanted:
            return lambda answer, name, columns=None: answer
        import_pandas()
        index = index_of(self._parts(inputs))
        return lambda answer, name, columns=None: as_frame(answer, name, index, columns)

    def _parts(self, inputs):
        """The parts of what `fit` takes, by name."""
        is_named = isinstance(inputs, dict) and not hasattr(inputs, "shape")
        parts = dict(inputs) if is_named else {"x": inputs}
        if self._reads_several and "x" in parts:
            x = parts.pop("x")
            x = x if isinstance(x, (list, tuple)) else [x]
            parts |= {f"x/{number}": part for number, part in enumerate(x)}
        return parts

    def _who(self, part):
        """What a part of the inputs is called in errors."""
        return f"{f'Modality {part[2:]}' if _is_modality(part) else part} of {self.name}"

    def save_own_variables(self, store: Any) -> None:
        super().save_own_variables(store)
        if self._columns:
            store["columns"] = np.frombuffer(json.dumps(dict(self._columns)).encode(), "uint8")

    def load_own_variables(self, store: Any) -> None:
        entries = {name: store[name] for name in store.keys()}
        columns = entries.pop("columns", None)
        super().load_own_variables(entries)
        self._columns = {} if columns is None else _read_columns(np.asarray(columns))


def _is_modality(part):
    """Whether the name of a part is that of one of several."""
    return str(part).startswith("x/")


def _read_columns(written):
    """Names by part from what a file holds; ValueError if they cannot have been written."""
    try:
        columns = json.loads(written.astype("uint8").tobytes())
        valid = all(
            re.fullmatch(r"[a-z_]+(/\d{1,4})?", part)
            and isinstance(names, list)
            and all(isinstance(name, str) for name in names)
            for part, names in columns.items()
        )
    except (AttributeError, TypeError, ValueError):
        valid = False
    if not valid:
        raise ValueError("The file is damaged: it holds no names of columns where it should.")
    return columns
