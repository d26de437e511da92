"""Observations whose samples are no arrays: recordings, sentences. What they hold are features."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from kserket.core import files, results
from kserket.core.attributes import Folder, OwnFolder
from kserket.core.checking import check_data
from kserket.core.node import Node, full_name
from kserket.core.observation import Observation
from kserket.core.options import check_choice
from kserket.row_names import row_names_of
from kserket.typing import Array, Mode, PathLike, hook


class Features(OwnFolder, Observation):
    """Base of observations that turn samples into features, and hold these.

    What that takes, such as a codebook or a vocabulary, is learned from samples, written beside
    the result files and kept in a saved graph, so that `Graph.predict` and `set_data` take new
    samples as well as features.

    | what you write | when it is called |
    |---|---|
    | `learn_features(samples)` | in mode "learn": samples of the constructor and `set_data` |
    | `extract(samples, parameters)` | after it, and for new data |
    | `check_parameters(parameters)` | when a file or a saved graph is read |
    | `text_files(features)` | when features are learned or set |

    Args:
        samples: List of samples; None stands for one that was not observed. Or features (N, ...),
            extracted before.
        name: Module name.
        mode: "learn" learns from `samples`; "recog" reads what an earlier run learned.
        save_dir: The folder in which the module's own is made. None writes nothing.
        load_dir: A module's own folder, written by an earlier run.

    Attributes:
        parameters: Dict of arrays, or None where nothing has been learned.
    """

    parameters_file = "parameters.h5"
    load_dir = Folder()

    def __init__(
        self,
        samples: Any,
        name: str,
        mode: Mode = "learn",
        *,
        save_dir: PathLike | None = ".",
        load_dir: PathLike | None = None,
    ) -> None:
        check_choice("mode", mode, "learn", "recog")
        self.save_dir, self.load_dir = save_dir, load_dir
        self.mode, self.parameters = mode, None
        data = samples
        if self._is_raw(samples):
            if mode == "recog" or load_dir is not None:
                self.parameters = self._read_parameters(name)
            self.parameters, data = self._features(samples, name, mode == "learn")
        super().__init__(data, name, allow_missing=True)
        self._row_names = row_names_of(samples)
        if self.parameters is not None:
            self._write()

    # What a subclass writes ---------------------------------------------------------------

    @hook
    def learn_features(self, samples: Sequence[Any]) -> dict[str, Array]:
        """What turns samples into features, going on from `self.parameters`. Changes nothing.

        Args:
            samples: List of samples, none missing.

        Returns:
            Dict of arrays.
        """
        raise TypeError(f"{type(self).__name__} must define learn_features(samples).")

    @hook
    def extract(self, samples: Sequence[Any], parameters: dict[str, Array]) -> Array:
        """Features of samples. Changes nothing.

        Args:
            samples: List of samples, none missing.
            parameters: Dict, as `learn_features` returned it.

        Returns:
            Array (N, ...).
        """
        raise TypeError(f"{type(self).__name__} must define extract(samples, parameters).")

    def check_parameters(self, parameters: dict[str, Array]) -> None:
        """Raises ValueError unless a dict is what `learn_features` could have returned.

        Args:
            parameters: Dict of arrays, from a file.
        """

    def text_files(self, features: Array) -> dict[str, Array | str]:
        """Text files of features.

        Args:
            features: The data, (N, ...).

        Returns:
            Dict from file name to array, or to text.
        """
        return {}

    def settings(self) -> dict[str, Any]:
        """Dict of JSON values that saved parameters must agree with."""
        return {}

    # What an observation does -------------------------------------------------------------

    def get_config(self) -> dict[str, Any]:
        """Everything but the samples: their features are the data."""
        return {"name": self.name, "mode": self.mode, "load_dir": self.load_dir}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """A new module from what `get_config` returned.

        Args:
            config: The dict, and `data`: features.
        """
        config = dict(config)
        return cls(config.pop("data"), save_dir=None, **config)

    def get_state(self) -> dict[str, Any]:
        return {**super().get_state(), "parameters": self.parameters}

    def set_state(self, state: dict[str, Any]) -> None:
        parameters = state.get("parameters")
        if parameters is not None:
            self._check_arrays(parameters, f"the parameters of {self.get_name()}")
        super().set_state(state)
        self.parameters = parameters

    def write_below(self, folder: PathLike | None) -> None:
        self.save_dir = folder

    def set_data(self, data: Any, same_samples: bool = False) -> None:
        """Replaces the samples; see `Observation.set_data`. In mode "learn" they are learned from.

        Args:
            data: List of samples, or features (N, ...).
            same_samples: Whether the rows are the samples that were there, in their order.
        """
        parameters = self.parameters
        if self._is_raw(data):
            parameters, data = self._features(data, self.get_name(), self.mode == "learn")
        super().set_data(data, same_samples)
        self.parameters = parameters
        if parameters is not None:
            self._write()

    def read_samples(self, data: Any, name: str) -> Array:
        if self._is_raw(data):
            data = self._features(data, name, learns=False)[1]
        return check_data(data, name, allow_missing=True)

    # Private ------------------------------------------------------------------------------

    def _is_raw(self, samples):
        """Whether these are samples, not features. Strings and paths in lists are samples."""
        if samples is None or isinstance(samples, (str, os.PathLike)):
            raise TypeError(
                f"{type(self).__name__} takes a list of samples. Received: {samples!r}. For "
                "samples that come later give the first of them now, others by set_data()."
            )
        listed = isinstance(samples, (list, tuple))
        if not listed and getattr(getattr(samples, "dtype", None), "kind", "") not in ("O", "U"):
            return False
        return _is_text(next((one for one in _items(samples) if one is not None), ""))

    def _features(self, samples, name, learns):
        """Pair of parameters and features (N, ...); rows of None are NaN."""
        samples = _items(samples)
        seen = [one for one in samples if one is not None]
        if not learns and self.parameters is None:
            raise RuntimeError(
                f"{name} holds features and has not learned how samples become such. Give it "
                "features, or make it of samples."
            )
        if learns and not seen:
            raise ValueError(f"{name} needs a sample that was observed. Received: {samples}")
        parameters = self.learn_features(seen) if learns else self.parameters
        features = np.asarray(self.extract(seen, parameters))
        if len(seen) == len(samples):
            return parameters, features
        rows = np.full((len(samples), *features.shape[1:]), np.nan)
        rows[[one is not None for one in samples]] = features
        return parameters, rows

    def _read_parameters(self, name):
        """What an earlier run learned."""
        folder = self.load_dir
        if folder is None and self.save_dir is not None:
            folder = self.save_dir / full_name(Node.next_number(), name)
        if folder is None:
            raise FileNotFoundError(
                f"{name} has neither save_dir nor load_dir to read from. Say with load_dir= where "
                "the folder of the module that learned is."
            )
        path = folder / self.parameters_file
        try:
            arrays, metadata = results.read_parameters(path)
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"{name} has learned nothing that it could use: {error} Make it with mode='learn' "
                "first, or say with load_dir= where its folder is."
            ) from None
        expected = {"module": type(self).__name__, "settings": self.settings()}
        for key, value in expected.items():
            if metadata.get(key) != value:
                raise ValueError(
                    f"{path} holds {key}={metadata.get(key)}, but {name} has {value}. Give it the "
                    "settings it was learned with."
                )
        self._check_arrays(arrays, str(path))
        return arrays

    def _check_arrays(self, parameters, where):
        try:
            if not isinstance(parameters, dict):
                raise ValueError(f"a dict of arrays was expected, not {type(parameters).__name__}")
            self.check_parameters(parameters)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(
                f"{where} cannot be used by {type(self).__name__}: {type(error).__name__}: {error}"
            ) from error

    def _write(self):
        """Parameters and texts, all or none."""
        if self.folder is None:
            return
        with files.naming(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        with files.replacing() as open_new:
            if self.mode == "learn":
                metadata = {"module": type(self).__name__, "settings": self.settings()}
                path = self.folder / self.parameters_file
                results.write_parameters(path, self.parameters, metadata, open_new)
            for name, content in self.text_files(self.data).items():
                if isinstance(content, str):
                    open_new(self.folder / name).write(content.encode("utf-8"))
                else:
                    results.write_text(self.folder / name, content, open_new)


def _items(samples):
    """Samples as a list."""
    return samples.tolist() if isinstance(samples, np.ndarray) else list(samples)


def _is_text(sample):
    """Whether a sample is a string or path, or a list of such."""
    if isinstance(sample, (list, tuple)):
        return all(_is_text(part) for part in sample)
    return isinstance(sample, (str, os.PathLike))
