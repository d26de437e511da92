"""What of a graph is written to its file, and what of it is put back."""

import warnings

import keras
import numpy as np
import tensorflow as tf

from kserket.core import loaded, messages
from kserket.core.learning_module import LearningModule
from kserket.core.mailbox import Seat, reader_of
from kserket.core.module import Module
from kserket.core.observation import Observation
from kserket.core.registry import registered_name
from kserket.core.saving import archive
from kserket.core.saving.codec import Packer
from kserket.core.saving.data import describe_data, in_memory
from kserket.version import __version__

_PLACES = "save_dir", "load_dir"
_OF_ROWS = "labels", "category", "lengths"


def save_graph(graph, path, include_data=True):
    """Writes a graph to one file; see `Graph.save`."""
    keeping = [module.get_name() for module in graph.modules if module.holds_data]
    if keeping and not include_data:
        raise ValueError(
            f"{', '.join(keeping)} collected data that are nowhere else, so that a file without "
            "data would lose them. Save with include_data=True, or let it collect what a module "
            "concludes of the data."
        )
    packer = Packer()
    modules = [_pack_structure(graph, module, packer) for module in graph.modules]
    written = [
        module for module in graph.observations.values() if include_data and in_memory(module.data)
    ]
    state = pack_state(graph, packer, written)
    for module, entry in zip(graph.modules, modules, strict=True):
        if isinstance(module, Observation):
            data = module.data
            entry["data"] = {"key": graph.names[module], **describe_data(data)}
            if module in written:
                entry["data"]["values"] = packer.pack(data, f"data of {module.name}")
    content = {
        **versions(),
        "seed": graph.seed,
        "tops": [graph.modules.index(top) for top in graph.tops],
        "modules": modules,
        "state": state,
    }
    archive.write(path, content, packer.arrays, packer.models)


def versions():
    """What wrote the file: format, and versions of the libraries."""
    return {
        "format": archive.FORMAT,
        "kserket": __version__,
        "keras": keras.__version__,
        "tensorflow": tf.__version__,
        "numpy": np.__version__,
    }


def describe_config(module):
    """Class and arguments in JSON, arrays as digests: equal for equal modules.

    What belongs to the rows of this host is not there: labels, lengths of sequences, data.

    Args:
        module: A `Module`.
    """
    packer = Packer()
    config = module.get_config()
    for place in _PLACES + _OF_ROWS:
        config.pop(place, None)
    return {
        "class": registered_name(type(module)),
        "arguments": packer.pack(config, module.get_name()),
        "arrays": [describe_data(array.reshape(-1)) for array in packer.arrays],
        "networks": [[list(w.shape) for w in model.weights] for model in packer.models],
        "seed": module.seed,
        "trainable": module.trainable,
    }


def describe_rows(module):
    """What a module was given for the rows of this host, in JSON, arrays as digests.

    Args:
        module: A `Module`.
    """
    config, packer = module.get_config(), Packer()
    given = {name: config[name] for name in _OF_ROWS if config.get(name) is not None}
    packed = packer.pack(given, module.get_name())
    if isinstance(module, Observation):
        packed["rows"] = len(module.data)
    return {**packed, "arrays": [describe_data(array.reshape(-1)) for array in packer.arrays]}


def pack_state(graph, packer, written=()):
    """What changes while a graph learns: round, history, models, messages.

    Args:
        graph: The `Graph`.
        packer: The `Packer` that collects arrays and models.
        written: The observations whose data the file holds. A module that passes on the data of
            others has them from there again.
    """
    _warn_of_shared(graph)
    for number, module in enumerate(graph.modules):
        if isinstance(module, Observation) and module not in written:
            packer.refer(module.data, number)
    return {
        "round": graph.round,
        "history": packer.pack(dict(graph.history.history), "graph.history"),
        "epochs": list(graph.history.epoch),
        "modules": [_pack_module(graph, module, packer) for module in graph.modules],
    }


def _warn_of_shared(graph):
    """Warns of models that share variables: a file holds them apart."""
    owners = {}
    for module in graph.modules:
        model = module.model
        for weight in model.weights if isinstance(model, keras.Model) else ():
            other = owners.setdefault(id(weight), module)
            if other.model is not model:
                warnings.warn(
                    f"{module.get_name()} and {other.get_name()} share a network, and a file "
                    "keeps it twice: the loaded graph predicts the same, but trains the two apart. "
                    "Give each its own: keras.models.clone_model(encoder).",
                    stacklevel=4,
                )
                break


def restore_state(graph, packed, unpacker, with_rows=None):
    """Puts a state back; nothing is changed if something in it is wrong.

    Args:
        graph: The `Graph`, of the structure that the state was taken from.
        packed: What `pack_state` returned.
        unpacker: `Unpacker`.
        with_rows: Function from the number of a module and its state to that state with the rows of
            this host; None where the file is of these rows.
    """
    if len(packed["modules"]) != len(graph.modules):
        raise ValueError("its graph.json holds another number of modules than states.")
    for number, module in enumerate(graph.modules):
        if isinstance(module, Observation):
            unpacker.refer(module.data, number)
    parts = []
    for module, entry in zip(graph.modules, packed["modules"], strict=True):
        with module.device_scope():
            part = unpacker.unpack(entry)
        parts.append(part if with_rows is None else with_rows(len(parts), part))
    state = unpacker.unpack({**packed, "modules": None})
    done = loaded.check_whole(state["round"], "the number of rounds")
    loaded.check_history(state["history"], state["epochs"])
    for module, part in zip(graph.modules, parts, strict=True):
        part["state"] = {**part.get("attributes", {}), **part["state"]}  # apart in the first files
        _check_part(graph, module, part)
    for module, part in zip(graph.modules, parts, strict=True):
        _restore_module(graph, module, part)
    for module, part in zip(graph.modules, parts, strict=True):
        if part.get("parameters") is not None:  # no Keras model: its own arrays
            module.restore_parameters(part["parameters"])
        module.set_state(part["state"])
    graph.round = done
    graph.history.history, graph.history.epoch = state["history"], state["epochs"]


def _base_of(module):
    """The class whose state is saved even where a subclass forgets `super().get_state()`."""
    return LearningModule if isinstance(module, LearningModule) else Module


def _pack_structure(graph, module, packer):
    return {
        "class": registered_name(type(module)),
        "config": packer.pack(module.get_config(), f"get_config() of {module.get_name()}"),
        "name": module.name,
        "number": module.number,
        "inputs": [graph.modules.index(source) for source in module.inputs],
        "sends_back": module.sends_back,
    }


def _pack_module(graph, module, packer):
    name = module.get_name()
    state = {**_base_of(module).get_state(module), **module.get_state()}
    entry = {
        "state": packer.pack(state, f"get_state() of {name}"),
        "backward": [
            [sender, packer.pack(message, f"a message to {name}")]
            for sender, message in _backward(graph, module)
        ],
    }
    if not isinstance(module, Observation):
        entry["forward"] = packer.pack(module.get_forward_msg(), f"the message of {name}")
    if "model" in vars(module) and isinstance(module.model, (keras.Model, type(None))):
        entry["model"] = packer.pack(module.model, f"the model of {name}")
    elif isinstance(module, LearningModule):
        entry["parameters"] = packer.pack(module.get_parameters(), f"parameters of {name}")
    return entry


def _backward(graph, module):
    """Pairs of the sender's index and its message; None is a hand, or modules not in the graph.

    A module that reads an observation twice is there twice, in the order of its connections.
    """
    said = [(reader_of(seat), message) for seat, message in module.mailbox.backward.items()]
    others = [message for sender, message in said if sender not in graph.names]
    pairs = [(graph.modules.index(s), message) for s, message in said if s in graph.names]
    return pairs + [(None, messages.product(others))] * bool(others)


def _check_part(graph, module, part):
    """Raises ValueError unless what a file holds of a module can be put into it."""
    name = module.get_name()
    loaded.check_state(module, part["state"])
    loaded.check_message(part.get("forward"), f"what {name} sent")
    for sender, message in part["backward"]:
        if sender is not None and loaded.check_whole(sender, "a sender") >= len(graph.modules):
            raise ValueError(f"{name} has a message from a module that is not there.")
        loaded.check_message(message, f"what {name} was sent")
    loaded.check_model(module, part.get("model"))


def _restore_module(graph, module, part):
    _base_of(module).set_state(module, part["state"])
    module.mailbox.backward, seen = {}, []
    for sender, message in part["backward"]:
        reader = None if sender is None else graph.modules[sender]
        seat = Seat(reader, seen.count(reader)) if reader in seen else reader
        seen.append(reader)
        module.mailbox.backward[seat] = message
    if "forward" in part:
        module.mailbox.forward = part["forward"]
    if "model" in part:
        module.model = part["model"]
