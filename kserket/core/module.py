"""Modules: things with a name that read what is below them and send messages both ways."""

from __future__ import annotations

import importlib
from typing import Any

from kserket.core.attributes import Configurable
from kserket.core.devices import current_strategy, scope_of
from kserket.core.hooks import Hooks
from kserket.core.host_group import group_of, working_together
from kserket.core.options import check_flag
from kserket.typing import Array, Mode

_MOVED = {"Observation": "kserket.core.observation", "Received": "kserket.core.messenger"}


class Module(Configurable, Hooks):
    """Base of everything that can stand in a graph.

    A module reads the forward messages of the modules it is connected to, and sends each of
    them a backward message. A module made under `tf.distribute.MirroredStrategy().scope()`, or that
    of `kserket.multi_worker_strategy()`, makes its model there, too.

    | what you write | what you then get |
    |---|---|
    | `update()` | a Serket module: loops of updates, `Graph.fit` |
    | `infer()` | `Graph.predict` and `Graph.evaluate` of new data |
    | `evaluate()` | figures of its own in `Graph.evaluate` |
    | `class_log_densities()`, `joint_log_likelihood()` | the likelihood of a whole graph there |
    | `latent_bound()` | a bound of it, where a module sends up q(z given x) |
    | `generate()` | `Graph.generate` |
    | `tensor_infer()`, `terms()` | `Graph.export`, and `Graph.predict` compiled |
    | `tensor_decode()`, `tensor_generate()` | the signatures `decode` and `generate` of an export |
    | `get_state()`, `set_state()` | attributes of its own in a saved graph |
    | `read()` | the other hooks receive what it returns, checked once, instead of messages |

    Every one of them has a default here, so that a graph never asks whether a module has it.
    A module that writes `update()` itself works on plain arrays: `get_observations()`,
    `get_backward_msg()` and its other hooks receive copies that it may write to. Its
    `get_messages()` returns the messages behind them, with their uncertainty.
    Modules that learn a model subclass `kserket.LearningModule`, which writes `update()`.

    Args:
        name: What it is called: "vae", "gmm". It is part of the folder's name and of the
            names of figures such as `gmm/accuracy`.
        learnable: Whether `update()` changes parameters.

    Attributes:
        model: The model that it learns, or None.
        labels: Classes (N,) that its posterior is scored against, or None.
        mode: "learn" or "recog"; None where there is no model.
        trainable: Whether `update()` changes the model; None where there is none.
        seed: The seed of its random numbers; None where it draws none.
        fingerprint: Digest of its saved parameters, or None.
        evidence_uses_prior: Whether `infer` returns other evidence or messages under a prior.
            Where it does not, a graph runs the module once a pass, not again for each prior.
        passes_through: Whether it only passes on messages and has no opinion of its own.
        leaves_out_inputs: Whether what it sends to an input leaves out what came from that input.
        num_rows: How many rows it reads and how many it sends, a pair, where the two differ; else
            None.
        links_samples: Whether what it concludes of a sample depends on the other samples it reads.
            Where no module does, large data are predicted in blocks.
        reads_sequences: Whether it has `lengths` of the sequences in its samples, and `segments`.
            `Graph.predict` sets them for a call.
        reads_gaps: Whether it can read data (N, D) of which single cells are NaN, not observed.
        predicts_inputs: Whether it sends anything back to what it reads. A view of data does not.
        draws_inputs: Whether it can draw what it reads. `Graph.generate` passes over a module that
            cannot, where another one draws the same observations.
        waits_for_inputs: Whether an input that has sent nothing yet is an error. Else, and for
            modules that write `update()` themselves, it reads None there.
        learns_over_hosts: Whether its `update()` learns the same on all of several hosts, from
            what `kserket.hosts` sums over them. One that learns from the rows of its own host is
            refused there.
        samples_in_state: Names of the entries of `get_state()` that hold a row per sample.
        former_names: Dict from names that arguments of the constructor had in Serket to those
            they have now. They are read, with a warning.

    Example:

    ```python
    import kserket as srk

    class Doubler(srk.Module):
        def update(self):
            (x,) = self.get_observations()
            self.set_forward_msg(2.0 * x)

    obs = srk.Observation([[1.0], [2.0]])
    doubler = Doubler(name="doubler")
    doubler.connect(obs)
    doubler.update()
    print(doubler.get_forward_msg())
    ```
    """

    learns_over_hosts = False
    samples_in_state: tuple[str, ...] = ()
    _is_read = True  # whether a reader may have learned on the parameters that files hold
    _belongs_to: str | None = None  # the fingerprint of the parameters that were loaded
    model: Any = None
    labels: Array | None = None
    trainable: bool | None = None
    seed: int | None = None
    fingerprint: str | None = None
    mode: Mode | None = None

    def __init__(self, name: str = "", learnable: bool = True) -> None:
        check_flag(learnable=learnable)
        super().__init__(name)
        self._learnable = bool(learnable)
        self.logs: dict[str, float] = {}
        self.rounds = 0
        self._strategy = current_strategy()  # its model's, whenever that is made
        group_of(self._strategy)  # raises for one that cannot be used

    @property
    def learnable(self) -> bool:
        """Whether `update()` changes parameters."""
        return self._learnable

    @property
    def input_shapes(self) -> list[list[int]] | None:
        """Shape of a sample of each input when its model was made, lists; None before."""
        return self._input_shapes

    @property
    def belongs_to(self) -> str | None:
        """The fingerprint of the parameters that it loaded, or None."""
        return self._belongs_to

    @property
    def is_read(self) -> bool:
        """Whether a reader may have learned on the parameters that its files hold."""
        return self._is_read or not self._readers

    def note_written(self, fingerprint: str) -> None:
        """Notes that files hold its parameters, learned on those that modules below have now.

        Args:
            fingerprint: Digest of the parameters.
        """
        self.fingerprint, self._is_read = fingerprint, False
        for below in self._inputs:
            below._is_read = True

    def device_scope(self) -> Any:
        """A context in which its model is made on the devices of its strategy."""
        return scope_of(self._strategy)

    def host_scope(self) -> Any:
        """A context in which it works together with the hosts of its strategy."""
        return working_together(self.host_group)

    @property
    def strategy(self) -> Any:
        """The strategy of `tf.distribute` that it was made under, or None."""
        return self._strategy

    @property
    def host_group(self) -> Any:
        """The hosts of its strategy: what has `size` and `index`."""
        return group_of(self._strategy)

    def get_state(self) -> dict[str, Any]:
        """The attributes that a saved graph keeps of this module.

        A subclass adds its own: `return {**super().get_state(), "total": self.total}`. Name,
        number, messages, the model with its optimizer and the random states in it are saved
        without it, and so are the attributes of this class and `LearningModule`.

        Returns:
            Dict of values as in `get_config`.
        """
        return {"learnable": self._learnable, "rounds": self.rounds, "logs": self.logs}

    def set_state(self, state: dict[str, Any]) -> None:
        """Restores what `get_state` returned.

        A subclass calls `super().set_state(state)` and reads its own entries.

        Args:
            state: The dict. Entries that a later version added may be absent.
        """
        self._learnable = bool(state.get("learnable", self._learnable))
        for name in ("rounds", "logs"):
            setattr(self, name, state.get(name, getattr(self, name)))

    def __repr__(self) -> str:
        made_with = ", ".join(f"{name}={value!r}" for name, value in self._given().items())
        figures = ", ".join(f"{name} {value:.4g}" for name, value in self.logs.items())
        parts = (f"<{type(self).__name__} {self.get_name()}", made_with, figures)
        return "; ".join(part for part in parts if part) + ">"


def __getattr__(name):
    """A class that stood in this file once: pickles look for it here."""
    if name in _MOVED:
        return getattr(importlib.import_module(_MOVED[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
