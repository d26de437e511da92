"""Data as the lowest module of a graph."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from kserket.core.attributes import Fixed
from kserket.core.checking import check_data, has_gaps
from kserket.core.columns import in_order, names_of
from kserket.core.devices import current_strategy
from kserket.core.host_group import group_of
from kserket.core.mailbox import DataBox
from kserket.core.module import Module
from kserket.core.options import check_flag
from kserket.core.registry import register_module
from kserket.core.units import Sizes, sizes_of
from kserket.core.valid_range import ValidRange
from kserket.row_names import row_names_of
from kserket.typing import Array, Data


@register_module("kserket")
class Observation(Module):
    """Data as the lowest module of a graph.

    Args:
        data: Finite numbers (N, ...), one row per sample: what `np.loadtxt` returns, a list of
            rows, a `np.memmap`, the path of an `.npy` file, an HDF5 dataset, a
            `keras.utils.PyDataset` or `tf.data.Dataset` of batches, a scipy sparse matrix. Data in
            files stay there; datasets are read once.
        name: Name of the module. The key under which `Graph.predict` takes new data.
        allow_missing: Whether rows that are NaN throughout, or masked in a masked array, are taken
            as samples that were not observed here. Single cells (N, D) may be NaN, too, if modules
            that read them can do without (`reads_gaps`): mixtures. Otherwise NaN is an error.
        valid_range: Pair (low, high), numbers or arrays of the shape of a sample, such as (D,):
            values outside, here and in new data, are taken as not observed, such as the -999 of a
            sensor that was off. Needs `allow_missing=True`; an end without a limit is infinite.

    Attributes:
        columns: Names of the columns where the data are a DataFrame, else None. DataFrames that
            come later are read by these names, in whatever order their columns stand.

    Messages:
        Forward: the data. Backward: kept, and ignored.

    Raises:
        FileNotFoundError: If there is no such file.
        TypeError: If the data are not numbers.
        ValueError: If they are empty, ragged, without an end, or not finite, or if `valid_range`
            does not fit them.
    """

    _mailbox_type = DataBox
    _sizes: Sizes | None = None
    allow_missing = Fixed()
    valid_range = Fixed()

    def __init__(
        self,
        data: Data,
        name: str = "obs",
        *,
        allow_missing: bool = False,
        valid_range: tuple[ArrayLike, ArrayLike] | None = None,
    ) -> None:
        check_flag(allow_missing=allow_missing)
        if data is None:
            raise TypeError(
                f"{name} needs data. For a modality that was not observed give rows of NaN: "
                "Observation(np.full((N, D), np.nan), allow_missing=True). For data that come "
                "later give the first of them now, and the others by set_data() or "
                "set_forward_msg()."
            )
        columns, row_names = names_of(data), row_names_of(data)
        data = check_data(data, name, bool(allow_missing), allow_gaps=bool(allow_missing))
        if valid_range is not None and not allow_missing:
            raise ValueError("`valid_range` needs allow_missing=True: what lies outside is NaN.")
        if valid_range is not None:
            valid_range = ValidRange.checked(valid_range, data.shape[1:])
        super().__init__(name, learnable=False)
        self.columns = columns
        self.allow_missing = bool(allow_missing)
        self.valid_range = valid_range
        self.set_forward_msg(data)
        self._row_names = row_names
        self._arguments = (), self._given()  # without the data

    def get_config(self) -> dict[str, Any]:
        """Everything but the data, which the constructor takes as `data`."""
        config = {"name": self.name, "allow_missing": self.allow_missing}
        if self.valid_range is not None:
            config["valid_range"] = tuple(self.valid_range)
        return config

    def get_state(self) -> dict[str, Any]:
        sizes = None if self.sizes is None else list(self.sizes)
        return {**super().get_state(), "columns": self.columns, "sizes": sizes}

    def set_state(self, state: dict[str, Any]) -> None:
        super().set_state(state)
        self.columns = state.get("columns", self.columns)
        sizes = state.get("sizes")
        self._sizes = None if sizes is None else Sizes(*sizes)

    @property
    def data(self) -> Array:
        """The data (N, ...), read-only; `set_data` replaces them."""
        return self.mailbox.forward

    @property
    def feature_names(self) -> list[str] | None:
        """Names of the features (D,): columns of a DataFrame, words that are counted; or None."""
        return self.columns

    @property
    def sizes(self) -> Sizes | None:
        """How large the samples are, `core.units.Sizes`; None where nothing is known of it."""
        if self._sizes is None and isinstance(self.data, np.ndarray):
            self._sizes = sizes_of(self.data)
        return self._sizes

    def set_data(self, data: Data, same_samples: bool = False) -> None:
        """Replaces the data by other samples of the same shape.

        Messages about the old samples are taken back, from all modules above and whatever was
        set by hand there: these learn and infer afresh, with the parameters that they have. If
        `category` was given, set `module.labels` to the classes of the new samples.

        Args:
            data: Array (N, ...), checked as in the constructor.
            same_samples: Whether the rows are the samples that were there, in their order, such
                as a cleaner copy or one with gaps. What is known of them then stays.

        Raises:
            ValueError: If the data cannot be taken, their samples are of another shape and a
                module that reads them has its model, or there are more or fewer of the same
                samples. Then nothing is changed.
        """
        check_flag(same_samples=same_samples)
        columns, row_names = self.columns or names_of(data), row_names_of(data)
        data = in_order(data, self.columns, self.name)
        data = check_data(data, self.name, self.allow_missing, self.may_have_gaps)
        self._check_readers_take(data)
        if self.valid_range is not None:
            self.valid_range.check_fits(data.shape[1:])
        if not same_samples:
            self.mailbox.backward.clear()
            for reader in self._readers:
                reader.forget_samples()
        elif len(data) != len(self.data):
            raise ValueError(
                f"{self.name} holds {len(self.data)} samples, and same_samples=True needs "
                f"as many. Received: {len(data)}"
            )
        self.set_forward_msg(data)
        self.columns, self._row_names = columns, row_names

    def shard(self) -> slice:
        """Keeps the share of the rows that is this host's, where all hosts were given the same.

        The hosts are those of the strategy under which it was made (or this is called). Each
        takes as many rows, one after another. On one host all rows stay. Call it before `connect`.

        Returns:
            The rows that stay, a slice, for what else has a row per sample: `labels[rows]`.

        Raises:
            ValueError: If there are fewer rows than hosts.
        """
        group = self.host_group
        if group.size == 1:
            group = group_of(current_strategy())
        number = len(self.data)
        if number < group.size:
            raise ValueError(f"{self.name} holds {number} samples, too few for {group.size} hosts.")
        begin = number * group.index // group.size
        rows = slice(begin, number * (group.index + 1) // group.size)
        if group.size > 1:
            self.set_data(self.data[rows])
        return rows

    def read_samples(self, data: Data, name: str) -> Array:
        """New samples as `Graph.predict` and others read them. Changes nothing.

        Args:
            data: What the constructor takes; rows may be missing, cells where `allow_missing`.
            name: What they are called in errors.

        Returns:
            Array (N, ...).
        """
        data = in_order(data, self.columns, name)
        data = check_data(data, name, True, allow_gaps=self.may_have_gaps)
        if self.valid_range is None or data.shape[1:] != self.data.shape[1:]:
            return data  # of another shape, which the graph refuses
        return self.valid_range.apply(data)

    def check_reader(self, reader: Module) -> None:
        """Checks that a module can read the data; called when it is connected.

        Args:
            reader: The module.

        Raises:
            ValueError: If single cells were not observed, and it needs whole rows.
        """
        if not self.allow_missing or reader.reads_gaps or not has_gaps(self.data):
            return
        raise ValueError(
            f"{self.name} has rows with single cells of NaN, and {reader.get_name()} needs "
            "rows that are there in full, or not at all. A mixture (gmm.GMM) reads the others. "
            "Impute the cells, or split the features into observations of what is missing together."
        )

    @property
    def may_have_gaps(self) -> bool:
        """Whether single cells may be NaN: it is allowed, and all readers can do without."""
        return self.allow_missing and all(reader.reads_gaps for reader in self._readers)

    def _check_readers_take(self, data):
        """Raises ValueError if samples are of another shape than a reader was built for."""
        before, now = self.data.shape[1:], data.shape[1:]
        for reader in self._readers:
            if now != before and not reader.takes_shape(before, now):
                raise ValueError(
                    f"{self.name} holds samples of shape {before}, for which "
                    f"{reader.get_name()} was built. Received: {now}. Give data of that shape, or "
                    "make new modules for these."
                )

    def set_forward_msg(self, message: Data) -> None:
        """As `set_data`, without checks of the readers; what is known of the samples stays."""
        before = self.mailbox.forward
        super().set_forward_msg(in_order(message, self.columns, self.name))
        if self.valid_range is not None:
            new, self.mailbox.forward = self.mailbox.forward, before
            self.valid_range.check_fits(new.shape[1:])
            self.mailbox.forward = self.valid_range.apply(new)
        self._row_names = row_names_of(message)
        self._sizes = None

    def get_backward_msg(self) -> Any:
        """What the readers predict of the data, or None; nothing here acts on it."""
        return self.mailbox.backward.get(next(iter(self.mailbox.backward), None))

    def update(self) -> None:
        """Nothing to do: data stay what they are."""
