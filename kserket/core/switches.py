"""What may be set on a module that learns between its updates."""

from __future__ import annotations

import random
import zlib

import numpy as np
from numpy.typing import ArrayLike

from kserket.core.attributes import Folder, OwnFolder
from kserket.core.learning_hooks import LearningHooks
from kserket.core.options import check_choice, check_flag, check_labels, check_seed
from kserket.typing import Array, Mode


class Switches(OwnFolder, LearningHooks):
    """Mode, seed, labels and folders of a module, each checked when it is set.

    Attributes:
        load_dir: The folder of an earlier run, or None.
        seed_key: What tells its random numbers from those of others with the same seed.
    """

    load_dir = Folder()
    seed_key: str
    start = 0  # which of several runs of a graph this is
    _seed: int | None

    @property
    def mode(self) -> Mode:
        """ "learn" or "recog"; may be set between updates."""
        return self._mode

    @mode.setter
    def mode(self, mode: Mode) -> None:
        check_choice("mode", mode, "learn", "recog")
        self._mode = mode

    @property
    def trainable(self) -> bool:
        """Whether `update()` learns in mode "learn"; may be set between updates."""
        return self._trainable

    @trainable.setter
    def trainable(self, trainable: bool) -> None:
        check_flag(trainable=trainable)
        self._trainable = bool(trainable)

    @property
    def learnable(self) -> bool:
        """Whether `update()` changes parameters: in mode "learn", and while `trainable`."""
        return self.mode == "learn" and self.trainable

    @property
    def seed(self) -> int | None:
        """The integer that determines all randomness, or None until one is drawn."""
        return self._seed

    @seed.setter
    def seed(self, seed: int | None) -> None:
        self._seed = check_seed(seed)
        self._owns_seed = seed is not None

    @property
    def owns_seed(self) -> bool:
        """Whether it was given a seed of its own, which no graph replaces."""
        return self._owns_seed

    def take_seed(self, seed: int | None, key: str) -> bool:
        """Takes a graph's seed, unless this module was given one of its own.

        Args:
            seed: Integer.
            key: What tells this module's random numbers from those of others in the graph.

        Returns:
            Whether it was taken.
        """
        if self._owns_seed:
            return False
        self._seed, self.seed_key = seed, key
        return True

    def settle_seed(self) -> None:
        """Draws a seed if there is none yet."""
        if self._seed is None:
            self._seed = random.randrange(2**31)

    def _make_rng(self):
        self.settle_seed()
        numbers = [self.seed, zlib.crc32(self.seed_key.encode()), self.rounds]
        return np.random.default_rng([*numbers, self.start] if self.start else numbers)

    @property
    def keep_rounds(self) -> bool:
        """Whether the files of every update are kept; may be set between updates."""
        return self._keep_rounds

    @keep_rounds.setter
    def keep_rounds(self, keep_rounds: bool) -> None:
        check_flag(keep_rounds=keep_rounds)
        self._keep_rounds = bool(keep_rounds)

    @property
    def labels(self) -> Array | None:
        """Classes (N,) that are scored against, or None; may be set when other data come."""
        return self._labels

    @labels.setter
    def labels(self, labels: ArrayLike | None) -> None:
        self._labels = check_labels(labels)
