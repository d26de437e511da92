"""A graph, made again of its file."""

import numpy as np

from kserket.core.graph import Graph
from kserket.core.loaded import check_whole
from kserket.core.module import Module
from kserket.core.node import Node
from kserket.core.observation import Observation
from kserket.core.options import check_path
from kserket.core.registry import registered_class
from kserket.core.saving import NotSaved, Unpacker, archive, describe_data, restore_state
from kserket.typing import Data, PathLike


def load_graph(
    path: PathLike, data: dict[str, Data] | None = None, save_dir: PathLike | None = None
) -> Graph:
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
        save_dir: Folder below which its modules write their files from now on. None writes
            nothing: a file does not decide where this program writes.

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
    check_path(path=path)
    count = Node.next_number()
    try:
        with archive.reading(path) as (content, get_array, get_model):
            graph = _build(content, Unpacker(get_array, get_model), data, save_dir)
    except BaseException:
        Node.next_number(count)
        raise
    Node.next_number(max(count, *(module.number + 1 for module in graph.modules)))
    return graph


def _build(content, unpacker, data, save_dir):
    """The graph of a file's content."""
    if "modules" not in content:
        raise ValueError("it is the backup of a run, which graph.fit(backup_dir=...) goes on with.")
    modules, given = [], _given_data(content["modules"], data)
    for entry in content["modules"]:
        cls = registered_class(entry["class"])
        if not issubclass(cls, Module):
            raise ValueError(f"{entry['class']} is not a module.")
        config = unpacker.unpack(entry["config"])
        if issubclass(cls, Observation):
            module = _build_observation(cls, config, entry, unpacker, given)
        else:
            module = cls.from_config(config)
        module.write_below(save_dir)
        module.number = check_whole(entry["number"], "the number of a module")
        if module.name != entry["name"]:
            raise ValueError(
                f"{entry['class']} makes a module called {module.name!r} of what was "
                f"{entry['name']!r}: its get_config() must give what its constructor takes."
            )
        modules.append(module)
        if entry["inputs"]:
            numbers = [check_whole(index, "the number of an input") for index in entry["inputs"]]
            if not all(index < len(modules) - 1 for index in numbers):
                raise ValueError("its graph.json connects modules that are not there.")
            module.connect(*(modules[index] for index in numbers), backward=entry["sends_back"])
    tops = [check_whole(index, "the number of a module") for index in content["tops"]]
    graph = Graph(*(modules[index] for index in tops))
    if graph.modules != modules:
        raise ValueError("its graph.json names modules that nothing at the top reads.")
    restore_state(graph, content["state"], unpacker)
    graph.keep_seed(content["seed"])
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
        module = cls.from_config({**config, "data": np.zeros((1, 1))})
        module.mailbox.forward = NotSaved(name, described)
    return module
