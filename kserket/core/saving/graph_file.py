"""What of a graph is written to its file, and the graph that is made of it again."""

import hashlib
import warnings

import keras
import numpy as np
import tensorflow as tf

from kserket import storage
from kserket.core import messages
from kserket.core.graph import Graph
from kserket.core.module import Module, Observation
from kserket.core.registry import registered_class, registered_name
from kserket.core.saving import archive
from kserket.core.saving.codec import Packer, Unpacker
from kserket.version import __version__


def save_graph(graph, path, include_data=True):
    """Writes a graph to one file; see `Graph.save`."""
    packer = Packer()
    modules = [_pack_structure(graph, module, packer) for module in graph.modules]
    state = pack_state(graph, packer)
    for module, entry in zip(graph.modules, modules, strict=True):
        if isinstance(module, Observation):
            data = module.data
            entry["data"] = {"key": graph.names[module], **describe_data(data)}
            if include_data and _in_memory(data):
                entry["data"]["values"] = packer.pack(np.asarray(data), f"data of {module.name}")
    content = {
        **versions(),
        "seed": graph.seed,
        "tops": [graph.modules.index(top) for top in graph.tops],
        "modules": modules,
        "state": state,
    }
    archive.write(path, content, packer.arrays, packer.models)


def load_graph(path, data=None):
    """A graph that `Graph.save` wrote: it predicts the same, and trains on as if never stopped.

    Nothing in the file is executed. Classes of your own, modules or Keras objects, must be
    registered (`kserket.register_module`, `keras.saving.register_keras_serializable`) and
    imported first.

    Args:
        path: The file.
        data: Dict from the names of observations to the data that the file does not hold (saved
            with `include_data=False`, or that lie in files). They must be those that
            the graph was saved with; `graph["obs"].set_data(x)` puts other samples in their
            place. Without them the graph predicts, but does not fit.

    Returns:
        A `Graph`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is damaged, foreign, of a newer format, not to be trusted, or
            needs an unknown class; if data do not fit.

    Example:

    ```python
    import kserket as srk
    from kserket import gmm

    x, *_ = srk.datasets.make_mixture(300, 3, 2, seed=0)
    gmm1 = gmm.GMM(3, save_dir=None, seed=0)
    gmm1.connect(srk.Observation(x))
    graph = srk.Graph(gmm1)
    graph.fit(rounds=1, verbose=0)
    graph.save("mixture.kserket")

    same = srk.load_graph("mixture.kserket")
    print((same.predict(x) == graph.predict(x)).all())
    ```
    """
    count = Module._count
    try:
        with archive.reading(path) as (content, get_array, get_model):
            graph = _build(content, Unpacker(get_array, get_model), data)
    except BaseException:
        Module._count = count
        raise
    Module._count = max(count, *(module.number + 1 for module in graph.modules))
    return graph


def versions():
    """What wrote the file: format, and versions of the libraries."""
    return {
        "format": archive.FORMAT,
        "kserket": __version__,
        "keras": keras.__version__,
        "tensorflow": tf.__version__,
        "numpy": np.__version__,
    }


def describe_data(data):
    """Shape, dtype and a digest by which data are known again.

    Args:
        data: Array (N, ...) or memory map; read in chunks.
    """
    if isinstance(data, NotSaved):
        return dict(data.description)
    sha = hashlib.sha256()
    for rows in storage.chunks(data):
        sha.update(np.ascontiguousarray(storage.read(data, rows)))
    shape = [int(size) for size in data.shape]
    return {"shape": shape, "dtype": data.dtype.str, "digest": sha.hexdigest()[:16]}


def describe_config(module):
    """Class, arguments and connections in JSON, arrays as digests: equal for equal modules.

    Args:
        module: A `Module`.
    """
    packer = Packer()
    config = module.get_config()
    for place in ("save_dir", "load_dir"):
        config.pop(place, None)
    return {
        "class": registered_name(type(module)),
        "arguments": packer.pack(config, module.get_name()),
        "arrays": [describe_data(array.reshape(-1)) for array in packer.arrays],
        "networks": [[list(w.shape) for w in model.weights] for model in packer.models],
        "seed": getattr(module, "seed", None),
        **({"data": describe_data(module.data)} if isinstance(module, Observation) else {}),
    }


def pack_state(graph, packer):
    """What changes while a graph learns: round, history, models, messages.

    Args:
        graph: The `Graph`.
        packer: The `Packer` that collects arrays and models.
    """
    _warn_of_shared(graph)
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
        model = getattr(module, "model", None)
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


def restore_state(graph, packed, unpacker):
    """Puts a state back; nothing is changed if something in it is wrong.

    Args:
        graph: The `Graph`, of the structure that the state was taken from.
        packed: What `pack_state` returned.
        unpacker: `Unpacker`.
    """
    if len(packed["modules"]) != len(graph.modules):
        raise ValueError("its graph.json holds another number of modules than states.")
    parts = []
    for module, entry in zip(graph.modules, packed["modules"], strict=True):
        with module._devices():
            parts.append(unpacker.unpack(entry))
    state = unpacker.unpack({**packed, "modules": None})
    for module, part in zip(graph.modules, parts, strict=True):
        _restore_module(graph, module, part)
    for module, part in zip(graph.modules, parts, strict=True):
        if part.get("parameters") is not None:  # no Keras model: its own arrays
            module.model = module.build_model(module.get_observations())
            module.set_parameters(part["parameters"])
        module.set_state(part["state"])
    graph.round = int(state["round"])
    graph.history.history, graph.history.epoch = state["history"], state["epochs"]


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
    attributes = {key: getattr(module, key) for key in module._saved}
    entry = {
        "attributes": packer.pack(attributes, name),
        "state": packer.pack(dict(module.get_state()), f"get_state() of {name}"),
        "backward": [
            [sender, packer.pack(message, f"a message to {name}")]
            for sender, message in _backward(graph, module)
        ],
    }
    if not isinstance(module, Observation):
        entry["forward"] = packer.pack(module.get_forward_msg(), f"the message of {name}")
    model = getattr(module, "model", None)
    if "model" in vars(module) and isinstance(model, (keras.Model, type(None))):
        entry["model"] = packer.pack(model, f"the model of {name}")
    elif hasattr(module, "get_parameters"):
        entry["parameters"] = packer.pack(module.get_parameters(), f"parameters of {name}")
    return entry


def _backward(graph, module):
    """Pairs of the sender's index and its message; None is a hand, or modules not in the graph."""
    others = [
        message for sender, message in module.mailbox.backward.items() if sender not in graph.names
    ]
    pairs = [
        (graph.modules.index(sender), message)
        for sender, message in module.mailbox.backward.items()
        if sender in graph.names
    ]
    return pairs + [(None, messages.product(others))] * bool(others)


def _restore_module(graph, module, part):
    for name in module._saved:
        if name in part["attributes"]:  # those that came later have their defaults
            setattr(module, name, part["attributes"][name])
    senders = [(sender, message) for sender, message in part["backward"]]
    module.mailbox.backward = {
        None if sender is None else graph.modules[sender]: message for sender, message in senders
    }
    if "forward" in part:
        module.mailbox.forward = part["forward"]
    if "model" in part:
        module.model = part["model"]


def _build(content, unpacker, data):
    """The graph of a file's content."""
    if "modules" not in content:
        raise ValueError("it is the backup of a run, which graph.fit(backup_dir=...) goes on with.")
    modules, given = [], _given_data(content["modules"], data)
    for entry in content["modules"]:
        cls = registered_class(entry["class"])
        if not issubclass(cls, Module):
            raise ValueError(f"{entry['class']} is no module.")
        config = unpacker.unpack(entry["config"])
        if issubclass(cls, Observation):
            module = _build_observation(cls, config, entry, unpacker, given)
        else:
            module = cls.from_config(config)
        module.number = int(entry["number"])
        if module.name != entry["name"]:
            raise ValueError(
                f"{entry['class']} makes a module called {module.name!r} of what was "
                f"{entry['name']!r}: its get_config() must give what its constructor takes."
            )
        modules.append(module)
        if entry["inputs"]:
            if not all(0 <= index < len(modules) - 1 for index in entry["inputs"]):
                raise ValueError("its graph.json connects modules that are not there.")
            inputs = [modules[index] for index in entry["inputs"]]
            module.connect(*inputs, backward=entry["sends_back"])
    graph = Graph(*(modules[index] for index in content["tops"]))
    if graph.modules != modules:
        raise ValueError("its graph.json names modules that nothing at the top reads.")
    restore_state(graph, content["state"], unpacker)
    graph.seed = content["seed"]
    return graph


def _given_data(entries, data):
    """The caller's data by name; ValueError for names that no observation has."""
    names = [entry["data"]["key"] for entry in entries if "data" in entry]
    if data is None:
        return {}
    if not isinstance(data, dict) or data.keys() - set(names):
        got = list(data) if isinstance(data, dict) else type(data).__name__
        raise ValueError(f"`data` must be a dict with names among {names}. Received: {got}")
    return data


def _build_observation(cls, config, entry, unpacker, given):
    described = entry["data"]
    name = described["key"]
    if name in given:
        module = cls.from_config({**config, "data": given[name]})
        found = describe_data(module.data)
        for key in ("shape", "dtype", "digest"):
            if found[key] != described[key]:
                raise ValueError(
                    f"data[{name!r}] are not those that the graph was saved with: {key} was "
                    f"{described[key]}, received {found[key]}. Load with the original, or without "
                    f"data, and then call graph[{name!r}].set_data(x)."
                )
    elif "values" in described:
        module = cls.from_config({**config, "data": unpacker.unpack(described["values"])})
    else:
        shape = (1, *described["shape"][1:])
        module = cls.from_config({**config, "data": np.zeros(shape, described["dtype"])})
        module.mailbox.forward = NotSaved(name, described)
    return module


class NotSaved:
    """Stands for data that a file tells of but does not hold.

    Args:
        name: Name of the observation.
        description: What `describe_data` said of them.
    """

    def __init__(self, name, description):
        self.name, self.description = name, description
        self.shape = tuple(description["shape"])
        self.dtype = np.dtype(description["dtype"])

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, index):
        return np.asarray(self)[index]

    def __array__(self, dtype=None, copy=None):
        raise RuntimeError(
            f"The data of {self.name!r} were not saved with the graph. To learn from them, load "
            f"it with load_graph(path, data={{{self.name!r}: x}})."
        )


def _in_memory(data):
    """Whether data are an array that no file holds."""
    return isinstance(data, np.ndarray) and storage.memory_map(data) is None
