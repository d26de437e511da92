"""Sums of rows over groups."""

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from kserket.arrays import as_numbers, read_array
from kserket.core import messages, tensors
from kserket.core.inference import Inference
from kserket.core.registry import register_module
from kserket.typing import Integers
from kserket.utils.pass_through import PassThrough, take


class Terms(NamedTuple):
    """What its rule on tensors needs.

    Attributes:
        group_idx: (N,) the group of each row, which comes with the data.
    """

    group_idx: Any = None


@register_module("kserket")
class GroupSum(PassThrough):
    """Adds up the rows of each group: frames of a video, words of a scene, parts of an object.

    What a module above then says of a group goes down to each of its rows.

    Args:
        group_idx: Integers (N,) from 0 to G - 1: the group of each row, each of them once at least;
            a group without rows has one row of NaN. Of other names `np.unique(names,
            return_inverse=True)[1]` makes them. It belongs to the data: set `module.group_idx`
            before other data come. An exported graph takes it as an input, `groupsum_group_idx`.
        name: Module name.

    Messages:
        Reads: an array or `Categorical` (N, D), from one module. Missing rows add nothing.
        Forward: array (G, D), sums over groups; of class probabilities, expected counts.
        Backward: what came from above for its group, (N, D).
        Prior: anything of shape (G, D).

    Raises:
        TypeError: If `group_idx` holds text.
        ValueError: If `group_idx` is not a list of whole numbers >= 0, leaves some out, or has
            another length than the data.

    Example:

    ```python
    import kserket as srk
    from kserket import utils

    obs = srk.Observation([[1.0, 0.0], [2.0, 1.0], [0.0, 5.0]])
    groups = utils.GroupSum([0, 0, 1])
    groups.connect(obs)
    groups.update()
    print(groups.get_forward_msg())  # [[3. 1.] [0. 5.]]
    ```
    """

    links_samples = True
    tensor_generate = None  # a sum does not tell its rows

    def __init__(self, group_idx: ArrayLike, name: str = "groupsum") -> None:
        groups = _read(group_idx)  # before a number is taken
        super().__init__(name)
        self._group_idx = groups

    @property
    def group_idx(self) -> Integers:
        """The group of each row (N,); set those of other data before `Graph.predict` reads them."""
        return self._group_idx

    @group_idx.setter
    def group_idx(self, group_idx: ArrayLike) -> None:
        self._group_idx = _read(group_idx)

    @property
    def num_groups(self) -> int:
        """How many groups there are, G."""
        return int(self._group_idx.max()) + 1

    @property
    def num_rows(self) -> tuple[int, int]:
        """How many rows it reads, and how many it sends."""
        return len(self._group_idx), self.num_groups

    def get_state(self) -> dict[str, Any]:
        return {**super().get_state(), "group_idx": self.group_idx}

    def set_state(self, state: dict[str, Any]) -> None:
        super().set_state(state)
        self.group_idx = state.get("group_idx", self.group_idx)

    def infer(self, inputs: list[Any], prior: Any) -> Inference:
        """Sums over groups upwards, each group's message to its rows downwards.

        Args:
            inputs: List of one message or array (N, D).
            prior: Message or array (G, D), or None.

        Returns:
            An `Inference` without posterior.
        """
        super().infer(inputs, prior)
        rows = np.asarray(inputs[0])
        if len(rows) != len(self.group_idx):
            raise ValueError(
                f"{self.get_name()} knows the groups of {len(self.group_idx)} rows and reads "
                f"{len(rows)}. Set {self.name or 'module'}.group_idx to the groups of these."
            )
        missing = messages.missing_rows(inputs[0])
        seen = slice(None) if missing is None else ~missing
        sums = np.zeros((self.num_groups, *rows.shape[1:]), np.result_type(rows, np.float32))
        np.add.at(sums, self.group_idx[seen], rows[seen])
        return Inference(sums, [None if prior is None else self._rows_below(prior)])

    def generate(self, latent: Any, num_samples: int, rng: np.random.Generator) -> list[Any]:
        """Not possible.

        Raises:
            TypeError: Always: a sum does not tell its rows.
        """
        raise TypeError(
            f"{self.get_name()} cannot generate: a group's sum does not tell its rows. Name a "
            "module below it: graph.generate(top=...)."
        )

    def terms(self) -> Any:
        return Terms()

    def sample_terms(self, num_samples: int) -> dict[str, Any]:
        return {"group_idx": self.group_idx}

    def tensor_num_rows(self, terms: Any) -> Any:
        return tf.cast(tf.reduce_max(terms.group_idx), "int32") + 1

    def tensor_infer(self, inputs: list[Any], prior: Any, terms: Any) -> tensors.Inference:
        """`infer` on tensors.

        Args:
            inputs: List of one message or tensor (N, D).
            prior: Message or tensor (G, D), or None.
            terms: `Terms`.
        """
        rows, missing = tensors.as_array(inputs[0]), tensors.missing_mask(inputs[0])
        if missing is not None:
            silent = tf.reshape(missing, [-1] + [1] * (len(rows.shape) - 1))
            rows = tf.where(silent, tf.zeros_like(rows), rows)
        if prior is not None and tensors.is_categorical(inputs[0]):
            prior = tensors.as_categorical(prior)
        group_idx = terms.group_idx
        sums = tf.math.unsorted_segment_sum(rows, group_idx, self.tensor_num_rows(terms))
        down = tf.nest.map_structure(
            lambda part: None if part is None else tf.gather(part, group_idx), prior
        )
        return tensors.Inference(sums, [down])

    def _rows_below(self, prior):
        return take(prior, self.group_idx)


_NUMBERED = "np.unique(group_idx, return_inverse=True)[1] numbers what it holds from 0"


def _read(group_idx):
    """Groups of rows (N,), checked."""
    text = read_array(group_idx, "`group_idx`")
    if text.dtype.kind in "OSU" and text.size and isinstance(text.flat[0], (str, bytes)):
        raise TypeError(
            f"`group_idx` must hold whole numbers from 0. Received: text such as "
            f"{text.flat[0]!r:.60}. {_NUMBERED}."
        )
    group_idx = as_numbers(group_idx, "`group_idx`")
    if group_idx.ndim == 2 and 1 in group_idx.shape:
        group_idx = group_idx.ravel()
    finite = group_idx.dtype.kind in "iuf" and np.isfinite(group_idx).all()
    whole = finite and group_idx.ndim == 1 and len(group_idx) > 0
    if not whole or (group_idx != np.floor(group_idx)).any() or (group_idx < 0).any():
        raise ValueError(
            "`group_idx` must hold the group of each row, whole numbers from 0. "
            f"Received: {np.array2string(group_idx, threshold=8)}"
        )
    groups = np.unique(group_idx).astype(int)
    if groups[-1] >= len(groups):
        unused = int(np.argmin(groups == np.arange(len(groups))))
        raise ValueError(
            f"`group_idx` must leave no group out. Received: {len(groups)} groups up to number "
            f"{groups[-1]}, and no row of group {unused}. {_NUMBERED}; a group of which nothing "
            "was observed has one row of NaN."
        )
    return group_idx.astype(int)
