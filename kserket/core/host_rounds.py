"""What several hosts that fit one graph must have in common, found before the first one learns."""

import numpy as np

from kserket import hosts, storage
from kserket.core.host_group import check_agreement
from kserket.core.learning_module import LearningModule
from kserket.core.saving import describe_data
from kserket.core.saving.graph_file import describe_config, versions


def hosts_of(graph):
    """The hosts that fit a graph together.

    Args:
        graph: The `Graph`.

    Returns:
        `HostGroup`, or `kserket.hosts.Alone`.

    Raises:
        ValueError: If some modules were made under the strategy of several hosts, and others that
            learn were not.
    """
    groups = {module: module.host_group for module in graph.modules}
    shared = next((group for group in groups.values() if group.size > 1), hosts.Alone())
    if shared.size > 1:
        for module, group in groups.items():
            if isinstance(module, LearningModule) and group is not shared:
                raise ValueError(
                    f"{module.get_name()} was made outside of the strategy of the {shared.size} "
                    "hosts under which others of this graph were made. Make all modules under "
                    "strategy.scope(); load_graph, too."
                )
    return shared


def check_same_everywhere(graph, plan, has_backup, n_init):
    """Raises ValueError unless all hosts are to do the same, each with rows of its own.

    Args:
        graph: The `Graph`.
        plan: `Plan`, as the caller gave it.
        has_backup: Whether there is a folder for backups.
        n_init: Number of starts, or None.
    """
    if hosts.num_hosts() == 1:
        return
    check_agreement(_common(graph, plan, has_backup, n_init))
    for module in graph.modules:
        if module.learnable and not module.learns_over_hosts:
            raise ValueError(
                f"{module.get_name()}, a {type(module).__name__}, learns from the rows of one host "
                "alone, and would learn something else on each of "
                f"{hosts.num_hosts()}. Learn it on one host and load it (mode='recog', or "
                "trainable=False). A class of your own that exchanges what it learns through "
                "kserket.hosts sets learns_over_hosts = True."
            )
    _check_rows_differ(graph)


def shown_here(verbose):
    """`verbose` on the first host; others show one line, and nothing after it."""
    if hosts.host_index() == 0:
        return verbose
    if verbose:
        print(
            f"Host {hosts.host_index()} of {hosts.num_hosts()} learns along. "
            "Host 0 shows progress and writes files.",
            flush=True,
        )
    return 0


def _common(graph, plan, has_backup, n_init):
    """What must be alike on all hosts, a dict."""
    modules = {}
    for module, name in graph.names.items():
        modules[name] = {
            **describe_config(module),
            "inputs": [graph.names[source] for source in module.inputs] + [module.sends_back],
            "has labels": module.labels is not None,
            "messages from above": len(module.mailbox.backward),
            "rounds": module.rounds,
        }
    for name, observation in graph.observations.items():
        data = observation.data
        modules[name]["samples"] = [list(data.shape[1:]), np.dtype(data.dtype).name]
    return {
        "versions": versions(),
        "modules": modules,
        "seed": graph.seed,
        "round": graph.round,
        "rounds": plan.rounds,
        "tolerance": plan.tolerance,
        "schedule": plan.schedule or {},
        "has callbacks": bool(plan.callbacks),
        "module_callbacks": sorted(plan.module_callbacks or {}),
        "has validation_data": plan.validation is not None,
        "has backup_dir": has_backup,
        "n_init": n_init,
    }


def _check_rows_differ(graph):
    """Raises ValueError if two hosts hold the same rows, which would count twice."""
    texts = []
    for observation in graph.observations.values():
        data = observation.data
        chunk = describe_data(storage.read(data, next(storage.chunks(data))))
        texts.append([len(data), chunk["digest"]])
    digests = hosts.gather_rows(np.array([str(texts)])).tolist()
    for index, digest in enumerate(digests):
        first = digests.index(digest)
        if first < index:
            raise ValueError(
                f"Hosts {first} and {index} hold the same rows of "
                f"{', '.join(graph.observations)}, which would count twice. Where all hosts read "
                "the same data, keep each one's share: rows = obs.shard(), and labels[rows]."
            )
