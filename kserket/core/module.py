"""Modules: things with a name that read what is below them and send messages both ways."""

from __future__ import annotations

import inspect
import warnings
import weakref
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple, Self

import keras
import numpy as np
from numpy.typing import ArrayLike

from kserket import storage
from kserket.arrays import as_numbers, check_finite
from kserket.core.checking import check_data
from kserket.core.devices import capture_strategy_scope
from kserket.core.former import former_names, in_words_of_today, understood
from kserket.core.mailbox import DataBox, Mailbox, seats
from kserket.core.messages import Categorical, Message, as_categorical
from kserket.core.options import check_flag, check_keywords, keywords, refuse_change
from kserket.core.registry import register_module
from kserket.typing import Array, Data, Floats, PathLike, hook


class Received(NamedTuple):
    """What a module has received, where it has no `read` of its own.

    Attributes:
        inputs: List of messages or arrays, one per connected module.
        prior: The product of what came from above, or None.
    """

    inputs: list[Any]
    prior: Any = None


class Module:
    """Base of everything that can stand in a graph.

    A module reads the forward messages of the modules it is connected to, and sends each of
    them a backward message. A module made under `tf.distribute.MirroredStrategy().scope()` makes
    its model there, too.

    | what you write | what you then get |
    |---|---|
    | `update()` | a Serket module: loops of updates, `Graph.fit` |
    | `infer()` | `Graph.predict` and `Graph.evaluate` of new data |
    | `evaluate()` | figures of its own in `Graph.evaluate` |
    | `class_log_densities()`, `joint_log_likelihood()` | the likelihood of a whole graph there |
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
        trainable: Whether `update()` changes the model; None where there is none.
        seed: The seed of its random numbers; None where it draws none.
        fingerprint: Digest of its saved parameters, or None.
        evidence_uses_prior: Whether `infer` returns other evidence or messages under a prior.
            Where it does not, a graph runs the module once a pass, not again for each prior.
        passes_through: Whether it only passes on messages and has no opinion of its own.
        num_rows: How many rows it reads and how many it sends, a pair, where the two differ; else
            None.
        links_samples: Whether what it concludes of a sample depends on the other samples it reads.
            Where no module does, large data are predicted in blocks.
        waits_for_inputs: Whether an input that has sent nothing yet is an error. Else, and for
            modules that write `update()` themselves, it reads None there.
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

    _count = 0
    _arguments: tuple[tuple[Any, ...], dict[str, Any]]
    _mailbox_type = Mailbox
    _input_shapes: Any = None  # shapes of a sample of each input, from when the model was made
    _is_read = True  # whether a reader may have learned on the parameters that files hold
    _belongs_to: str | None = None  # the fingerprint of the parameters that were loaded
    model: Any = None
    labels: Array | None = None
    trainable: bool | None = None
    seed: int | None = None
    fingerprint: str | None = None
    evidence_uses_prior = True
    passes_through = False
    links_samples = True
    num_rows: int | None = None  # how many rows it reads and sends, where these are its own: a pair
    waits_for_inputs: bool = True
    tensor_decode: Callable[..., list[Any]] | None = None
    tensor_generate: Callable[..., list[Any]] | None = None

    # Whose options the constructor takes, too, if it takes any by **kwargs.
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

    def __init__(self, name: str = "", learnable: bool = True) -> None:
        if not isinstance(name, str) or any(character in name for character in "/\\:"):
            raise ValueError(
                "`name` must be a string without '/', '\\' or ':', since it becomes part of a "
                f"folder's name. Received: name={name!r}"
            )
        self.name = name
        self.number = Module._count
        check_flag(learnable=learnable)
        self._learnable = bool(learnable)
        self.mailbox = self._mailbox_type()
        self.logs: dict[str, float] = {}
        self.rounds = 0
        self._inputs: tuple[Module, ...] = ()
        self._readers: weakref.WeakSet[Module] = weakref.WeakSet()
        self._sends_back = True
        self._devices = capture_strategy_scope()  # its model's, whenever that is made
        Module._count += 1

    def __setattr__(self, name: str, value: Any) -> None:
        model = type(self).model_class
        if model is not None and not hasattr(type(self), name) and name in keywords(model):
            refuse_change(self, name)
        super().__setattr__(name, value)

    @staticmethod
    def reset_names() -> None:
        """Starts the numbers in module names over at 000."""
        Module._count = 0

    @property
    def inputs(self) -> tuple[Module, ...]:
        """The modules this one is connected to, a tuple."""
        return self._inputs

    @property
    def learnable(self) -> bool:
        """Whether `update()` changes parameters."""
        return self._learnable

    @property
    def sends_back(self) -> bool:
        """Whether backward messages are sent to the inputs."""
        return self._sends_back

    @property
    def posterior(self) -> Floats | None:
        """Evidence times everything that came from above, (N, K), or None."""
        return None

    @property
    def holds_data(self) -> bool:
        """Whether it keeps rows of an observation that the observation no longer has."""
        return False

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

    def write_below(self, folder: PathLike | None) -> None:
        """Says where files are written from now on; called when a graph is loaded from a file.

        A file does not decide where a program writes. A module that writes files of its own
        overrides this.

        Args:
            folder: The folder, or None: nothing is written.
        """

    # What a module concludes --------------------------------------------------------------

    def check_options(self, num_samples: int | None) -> None:
        """Raises ValueError if something that was set cannot be used.

        Called for every module of a graph before the first one learns in a round, so that a round
        is all or nothing.

        Args:
            num_samples: How many samples will be read, or None where that is not known yet.
        """

    def check_callbacks(self, callbacks: list[keras.callbacks.Callback]) -> None:
        """Raises ValueError if Keras callbacks cannot watch this module's own fits.

        Called for every module before the first one learns, as `check_options` is.

        Args:
            callbacks: Those of `module_callbacks` that name this module.
        """
        if callbacks:
            raise ValueError(
                f"`module_callbacks` names {self.get_name()}, which fits no model that callbacks "
                "could watch. Leave it out."
            )

    def check(self, inputs: list[Any], prior: Any) -> None:
        """Raises ValueError if inputs or prior cannot be used; called before anything changes.

        Args:
            inputs: List of messages or arrays, one per connected module.
            prior: The product of what came from above, or None.
        """

    def read(self, inputs: list[Any], prior: Any) -> Any:
        """Turns messages into the data that the other hooks work on, checked once.

        By default the messages themselves, after `check`; the hooks then receive `inputs` and
        `prior` as two arguments: `infer(inputs, prior)`; a module that writes `update()` itself
        receives arrays. What a `read` of your own returns they receive as one: `infer(data)`.

        Args:
            inputs: List of messages or arrays, one per connected module, with a row per sample.
            prior: The product of what came from above, or None.

        Returns:
            `Received`, or data of any other type.

        Raises:
            ValueError: If they cannot be used. Nothing has been changed then.
        """
        self.check(inputs, prior)
        return self._as_heard(inputs, prior)

    @hook
    def infer(self, *data: Any) -> Any:
        """What the module concludes in its present state. Changes nothing.

        Args:
            *data: What `read` returned: `inputs, prior`, or one value of your own.

        Returns:
            A `kserket.Inference`.

        Raises:
            TypeError: If the module does not define it.
        """
        raise TypeError(
            f"{self.get_name()} defines update() only. To predict new data it needs "
            "infer(inputs, prior), which returns a kserket.Inference and changes nothing."
        )

    @hook
    def evaluate(self, *data: Any) -> dict[str, float]:
        """How well the module describes data.

        Args:
            *data: As in `infer`.

        Returns:
            Dict of figures, means over samples, in nats. Empty by default.
        """
        return {}

    @hook
    def class_log_densities(self, *data: Any) -> Floats | None:
        """log p(what it reads | its class) of each sample, for the likelihood of a whole graph.

        Args:
            *data: As in `infer`; a prior is not looked at.

        Returns:
            Float64 array (N, K) in nats, rows of 0 where a sample is missing; None (the default)
            where it is not known exactly.
        """
        return None

    def joint_log_likelihood(self, data: Any, log_densities: Floats) -> Floats | None:
        """log p(everything below) of a module that reads one module of classes.

        Args:
            data: What `read` returned.
            log_densities: (N, K), `class_log_densities` of the module below.

        Returns:
            Float64 array (N,) in nats, parts whose sum is the log likelihood of all samples; None
            (the default) where it is not known exactly.
        """
        return None

    def generate(self, latent: Any, num_samples: int, rng: np.random.Generator) -> list[Any]:
        """Draws what the inputs would hold.

        Args:
            latent: This module's own latent variable, drawn by the module above or asked for:
                classes (num_samples,) or vectors (num_samples, D); None draws it here.
            num_samples: How many.
            rng: `numpy.random.Generator`.

        Returns:
            List with one array per input: classes or vectors for a module, data for an
            observation.

        Raises:
            TypeError: If the module does not define it.
        """
        raise TypeError(f"{self.get_name()} cannot generate: it defines no generate().")

    def check_observed(self, x: ArrayLike, name: str) -> None:
        """Raises ValueError if new data of an observation that this module reads cannot be used.

        Called before anything is predicted. By default `read` of these data, where the module
        reads nothing else.

        Args:
            x: Array (N, ...), rows of NaN missing.
            name: What the observation is called.
        """
        if len(self.inputs) == 1:
            self.read([x], None)

    @hook
    def tensor_infer(self, inputs: list[Any], prior: Any) -> Any:
        """`infer` in TensorFlow operations, for `Graph.export` and a compiled `Graph.predict`.

        A module without it predicts by `infer`, and cannot be exported. Beside it a module may have
        `tensor_decode(latent)` and `tensor_generate(latent, seed)` (None where absent), which
        return a list with one tensor per input: what a latent variable (N, K) or (N, D) means for
        it, and a draw of it. What is computed from parameters belongs in `terms`.

        Args:
            inputs: List of tensors, `kserket.core.tensors.Gaussian` or `Categorical`.
            prior: `Categorical` from above, or None.

        Returns:
            A `kserket.core.tensors.Inference`.

        Raises:
            TypeError: If the module does not define it.
        """
        raise TypeError(
            f"{self.get_name()} cannot be exported: {type(self).__name__} defines no "
            "tensor_infer(inputs, prior), which says in TensorFlow what infer() says in NumPy."
        )

    @property
    def has_tensor_rule(self) -> bool:
        """Whether the module defines `tensor_infer`."""
        return type(self).tensor_infer is not Module.tensor_infer

    def terms(self) -> Any:
        """What `tensor_infer` needs of the parameters, computed once for as long as they stay.

        Called in NumPy, and again as soon as a variable of `model` has another value.
        `tensor_infer`, `tensor_decode` and `tensor_generate` receive it as their last argument,
        arrays as tensors: floating-point ones in the precision of the messages.

        Returns:
            A NamedTuple, list or dict of arrays and None. An empty one says that the rule needs
            nothing but the variables that it reads where it runs, such as those of Keras layers;
            the hooks are called without it. None says nothing: what was computed from parameters
            while the rule was traced is taken to be part of it, which is then traced again after
            every change.
        """
        return None

    def sample_terms(self, num_samples: int) -> dict[str, Any]:
        """Entries of `terms`, a NamedTuple, that belong to samples rather than to parameters.

        Args:
            num_samples: How many samples are asked for.

        Returns:
            Dict from name of an entry to array (num_samples, ...). Empty by default.
        """
        return {}

    def get_name(self) -> str:
        """The full name, "module001_gmm"."""
        return f"module{self.number:03d}_{self.name}"

    def connect(self, *modules: Module, backward: bool = True) -> None:
        """Reads the forward messages of `modules` from now on, in this order.

        A second call replaces the first: messages sent over the old connections are taken
        back.

        Args:
            *modules: Modules or observations.
            backward: False reads without ever sending back.

        Raises:
            TypeError: If something is not a module.
            ValueError: If nothing is given, or twice a module that is no observation, or a cycle
                would arise.
        """
        check_flag(backward=backward)
        if not modules:
            raise ValueError(f"{self.get_name()}.connect() needs at least one module to read.")
        for module in modules:
            if not isinstance(module, Module):
                raise TypeError(
                    f"{self.get_name()} can be connected to modules only. Wrap data as "
                    f"kserket.Observation(data). Received: {type(module).__name__}"
                )
            path = _path_down(module, self)
            if path:
                names = " -> ".join(step.get_name() for step in [self, *path])
                raise ValueError(
                    f"The graph has a cycle: {names}. Connect modules from data upwards."
                )
        learned = [module for module in modules if not isinstance(module, Observation)]
        if len(set(learned)) != len(learned):
            raise ValueError(
                f"{self.get_name()} was given the same module twice: it would hear what it said "
                "itself. Only an observation may be read twice."
            )
        self.disconnect()
        for module in modules:
            if not isinstance(module, Observation):
                _warn_of_namesake(module, self)
        for module in modules:
            module._readers.add(self)
        self._inputs, self._sends_back = tuple(modules), bool(backward)

    def disconnect(self) -> None:
        """Stops reading, and takes back the messages sent to the modules below."""
        self._withdraw()
        for module in self._inputs:
            module._readers.discard(self)
        self._inputs = ()

    def forget_samples(self) -> None:
        """Takes back every message about the samples below, which are others from now on.

        What was learned stays. Called by `Observation.set_data`; a subclass that keeps something
        else of each sample forgets it here, too.
        """
        self._withdraw()
        self.mailbox.forward = None
        self.mailbox.backward.clear()
        for reader in self._readers:
            reader.forget_samples()

    def __getstate__(self) -> dict[str, Any]:
        """What is pickled: weak references cannot be."""
        return {**vars(self), "_readers": list(self._readers)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._readers = weakref.WeakSet(state["_readers"])

    def _withdraw(self):
        """Takes back the messages sent to the modules below."""
        for module, seat in zip(self._inputs, seats(self), strict=True):
            module.withdraw_backward_msg(seat)

    def get_observations(self) -> list[Any]:
        """What the connected modules say to this one.

        Returns:
            A list, one entry per connected module, each with one row per sample. A module that
            writes `update()` itself gets new arrays, which it may write to; modules of the
            library get messages or read-only arrays. Class probabilities include what *other*
            readers told that module, never what this one did. None stands for a module that has
            said nothing yet, where that is no error (`waits_for_inputs`).

        Raises:
            RuntimeError: If nothing is connected or an input has not been updated yet.
            ValueError: If the inputs hold different numbers of samples.
        """
        mailboxes = {module: module.mailbox for module in self._inputs}
        return self._as_heard(self.receive(mailboxes), None).inputs

    def get_messages(self) -> Received:
        """What this module has received, with its uncertainty.

        Returns:
            `Received`: `inputs`, a list of messages and read-only arrays, and `prior`, the message
            from above or None.

        Raises:
            RuntimeError: If nothing is connected or an input has not been updated yet.
            ValueError: If the inputs hold different numbers of samples.
        """
        mailboxes = {module: module.mailbox for module in self._inputs}
        return Received(self.receive(mailboxes), self.mailbox.prior())

    def receive(self, mailboxes: dict[Module, Mailbox]) -> list[Any]:
        """The inputs of `get_messages` from other mailboxes than the modules' own.

        Args:
            mailboxes: Dict from module to `Mailbox`.
        """
        name = self.get_name()
        if not self._inputs:
            raise RuntimeError(
                f"{name} has nothing to read. Call {self.name or 'module'}.connect(observation) "
                "before update()."
            )
        received = []
        for module in self._inputs:
            message = mailboxes[module].forward_for(self)
            if message is None and self.waits_for_inputs and not self._writes_update:
                raise RuntimeError(
                    f"{module.get_name()} has sent nothing to {name} yet. "
                    f"Call its update() before {name}'s."
                )
            received.append(message)
        spoken = [
            (module, len(message))
            for module, message in zip(self._inputs, received, strict=True)
            if message is not None
        ]
        for module, length in spoken:
            first, expected = spoken[0]
            if length != expected:
                raise ValueError(
                    f"{name} reads {expected} samples from {first.get_name()} and "
                    f"{length} from {module.get_name()}. "
                    "All inputs need the same number of samples."
                )
        return received

    def get_forward_msg(self) -> Any:
        """This module's evidence: what its own inputs say about its latent variable."""
        return self.mailbox.forward

    def set_forward_msg(self, message: Any) -> None:
        """States this module's evidence.

        Args:
            message: A message, or an array with one row per sample.

        Raises:
            TypeError: If it holds something else than numbers.
            ValueError: If it is empty, something in it is masked, or not finite where not the whole
                row is NaN.
        """
        self.mailbox.forward = _as_message(message, f"The forward message of {self.get_name()}")

    def get_backward_msg(self) -> Any:
        """The product of what the readers sent down, or None while nothing came.

        A module that writes `update()` itself gets a new array, as in `get_observations`.
        """
        return self._as_heard([], self.mailbox.prior()).prior

    def _as_heard(self, inputs, prior):
        """`Received` in the form that this module works on: new arrays, or what was sent."""
        if self._writes_update:
            inputs = [_writable(message) for message in inputs]
            prior = _writable(prior)
        return Received(inputs, prior)

    @property
    def _writes_update(self):
        """Whether `update` is a user's own."""
        return type(self).update.__module__.partition(".")[0] != __name__.partition(".")[0]

    def set_backward_msg(self, message: Any, sender: Module | None = None) -> None:
        """Receives a message from above.

        Args:
            message: A message or an array of the shape of the forward message. None takes
                every message from above back: the default prior holds again.
            sender: The module that sends it. Messages of several senders multiply; one set
                by hand (None) stands beside them.

        Raises:
            TypeError: If it holds something else than numbers.
            ValueError: If the shape is not that of the forward message.
        """
        if message is None:
            self.mailbox.backward.clear()
            return
        message = _as_message(message, f"A message to {self.get_name()}")
        self.check_backward(message, sender)
        self.mailbox.backward[sender] = message

    def withdraw_backward_msg(self, sender: Module | None) -> None:
        """Takes a message from above back, if there is one.

        Args:
            sender: The module that sent it.
        """
        self.mailbox.backward.pop(sender, None)

    def check_backward(
        self, message: Any, sender: Module | None = None, forward: Any = None
    ) -> None:
        """Raises ValueError unless `message` is of the shape and kind of what went up."""
        forward = self.mailbox.forward if forward is None else forward
        if forward is None:
            return
        by = sender.get_name() if sender is not None else "Somebody"
        if np.shape(message) != np.shape(forward):
            rows = len(np.shape(message)) < 1 or len(message) != len(forward)
            raise ValueError(
                f"{by} sent {self.get_name()} a message of shape {np.shape(message)}, but "
                f"{self.get_name()} sent {np.shape(forward)}. "
                + ("Both must hold one row per sample." if rows else "Both must have one shape.")
            )
        if isinstance(forward, Categorical):
            try:
                as_categorical(message)
            except ValueError as error:
                raise ValueError(
                    f"{by} sent {self.get_name()} a message that holds no class probabilities: "
                    f"{error}"
                ) from error

    def send_backward_msgs(self, messages: Sequence[Any]) -> None:
        """Sends each connected module its message.

        Args:
            messages: One message or array per connected module, in their order; None sends
                nothing to that one.

        Raises:
            ValueError: If their number is not that of the inputs, or a shape is wrong. Then
                nothing is sent.
        """
        if not self._sends_back:
            return
        messages = list(messages)
        if len(messages) != len(self._inputs):
            raise ValueError(
                f"{self.get_name()} sent {len(messages)} backward messages, but is connected to "
                f"{len(self._inputs)} modules. Send one per connected module."
            )
        sent = [
            (module, seat, _as_message(message, f"A message to {module.get_name()}"))
            for module, seat, message in zip(self._inputs, seats(self), messages, strict=True)
            if message is not None
        ]
        if self._writes_update:
            sent = [one for one in sent if not self._says_something_else(one[0], one[2])]
        for module, seat, message in sent:
            module.check_backward(message, sender=seat)
        for module, seat, message in sent:
            module.set_backward_msg(message, sender=seat)

    def _says_something_else(self, module, message):
        """Whether a message to an observation has another shape than its data: then a warning."""
        if not isinstance(module, Observation) or np.shape(message) == np.shape(module.data):
            return False
        warnings.warn(
            f"{self.get_name()} sent {module.get_name()} a message of shape {np.shape(message)}, "
            f"and its data have {np.shape(module.data)}. It is left out: an observation keeps "
            "predictions of its data only.",
            stacklevel=4,
        )
        return True

    def takes_shape(self, before: tuple[int, ...], now: tuple[int, ...]) -> bool:
        """Whether samples of an input may come in another shape.

        Args:
            before: The shape that they had.
            now: The shape that they would have.
        """
        return self._input_shapes is None

    def update(self) -> None:
        """Reads, learns, and sends messages. A subclass says how."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.get_name()}>"


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
            as samples that were not observed here. Otherwise they are an error.

    Messages:
        Forward: the data. Backward: kept, and ignored.

    Raises:
        FileNotFoundError: If there is no such file.
        TypeError: If the data are not numbers.
        ValueError: If they are empty, ragged, without an end, or not finite.
    """

    _mailbox_type = DataBox

    def __init__(self, data: Data, name: str = "obs", *, allow_missing: bool = False) -> None:
        check_flag(allow_missing=allow_missing)
        if data is None:
            raise TypeError(
                f"{name} needs data. For a modality that was not observed give rows of NaN: "
                "Observation(np.full((N, D), np.nan), allow_missing=True). For data that come "
                "later give the first of them now, and the others by set_data() or "
                "set_forward_msg()."
            )
        data = check_data(data, name, allow_missing=bool(allow_missing))
        super().__init__(name, learnable=False)
        self.allow_missing = bool(allow_missing)
        self.set_forward_msg(data)
        del self._arguments  # they hold the data

    def get_config(self) -> dict[str, Any]:
        """Everything but the data, which the constructor takes as `data`."""
        return {"name": self.name, "allow_missing": self.allow_missing}

    @property
    def data(self) -> Array:
        """The data (N, ...), read-only; `set_data` replaces them."""
        return self.mailbox.forward

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
        data = check_data(data, self.get_name(), allow_missing=self.allow_missing)
        self._check_readers_take(data)
        if not same_samples:
            self.mailbox.backward.clear()
            for reader in self._readers:
                reader.forget_samples()
        elif len(data) != len(self.data):
            raise ValueError(
                f"{self.get_name()} holds {len(self.data)} samples, and same_samples=True needs "
                f"as many. Received: {len(data)}"
            )
        self.set_forward_msg(data)

    def _check_readers_take(self, data):
        """Raises ValueError if samples are of another shape than a reader was built for."""
        before, now = self.data.shape[1:], data.shape[1:]
        for reader in self._readers:
            if now != before and not reader.takes_shape(before, now):
                raise ValueError(
                    f"{self.get_name()} holds samples of shape {before}, for which "
                    f"{reader.get_name()} was built. Received: {now}. Give data of that shape, or "
                    "make new modules for these."
                )

    def get_backward_msg(self) -> Any:
        """What the readers predict of the data, or None; nothing here acts on it."""
        return self.mailbox.backward.get(next(iter(self.mailbox.backward), None))

    def update(self) -> None:
        """Nothing to do: data stay what they are."""


def call(hook, data, *arguments):
    """Calls a module's hook with what its `read` returned: `Received` as two arguments.

    Args:
        hook: Bound method, such as `module.infer`.
        data: What `module.read` returned.
        *arguments: What the hook takes beside it.
    """
    parts = data if isinstance(data, Received) else (data,)
    return hook(*parts, *arguments)


def _as_message(message, name):
    """A message unchanged; anything else as an array of numbers that cannot be written to."""
    if not isinstance(message, Message):
        message = as_numbers(message, name)
        if message.flags.writeable:
            message = message.view()
            message.flags.writeable = False
    if len(message.shape) == 0:
        raise ValueError(f"{name} must hold one row per sample. Received: {message!r}")
    if not isinstance(message, Message):
        if 0 in message.shape:
            raise ValueError(f"{name} must not be empty. Received: shape {message.shape}")
        check_finite(message, name, allow_missing=True)
    return message


def _writable(message):
    """A new array of what a message stands for, in a scratch file if it is large; None of None."""
    if message is None:
        return None
    return storage.apply(np.array, np.asarray(message))


def _warn_of_namesake(module, reader):
    """Warns if a module of the reader's name has already sent messages to `module`."""
    for other in module.mailbox.backward:
        if other is not None and other.name == reader.name:
            warnings.warn(
                f"{module.get_name()} already hears {other.get_name()}; {reader.get_name()}, of "
                "the same name, joins it, and their messages multiply. If it takes the old one's "
                "place, call disconnect() on the old one; else give them different names.",
                stacklevel=3,
            )


def _path_down(start, goal):
    """The modules from `start` down to `goal`, or None if there is no such path."""
    if start is goal:
        return [start]
    for module in start.inputs:
        path = _path_down(module, goal)
        if path:
            return [start, *path]
    return None
