"""Messages of a run, dealt out to another number of hosts, each of which has other rows."""

import contextlib

from kserket import hosts
from kserket.core import messages
from kserket.core.learning_module import LearningModule
from kserket.core.module import Module
from kserket.core.observation import Observation
from kserket.core.saving import archive
from kserket.core.saving.codec import Unpacker


@contextlib.contextmanager
def dealing_out(graph, paths):
    """What the hosts of a run have left of the rows that this host has now.

    Args:
        graph: The `Graph`, whose observations hold these rows.
        paths: The backup of each host of the run, in their order; all of one round.

    Yields:
        Function from the number of a module and its state, as one of the files has it, to that
        state with these rows.

    Raises:
        ValueError: If a module keeps what cannot be dealt out.
    """
    names = [graph.names[module] for module in graph.modules if not _can_be_dealt_out(module)]
    lengths = {len(module.data) for module in graph.observations.values()}
    if names or len(lengths) > 1:
        raise ValueError(
            f"what {', '.join(names) or 'an observation'} keeps of samples cannot be dealt out to "
            f"{hosts.num_hosts()} host(s). Start as many as before, or go on from a file of "
            "graph.save(path, include_data=False)."
        )
    begin, _ = hosts.place_of_rows(*lengths)
    end, start, files = begin + lengths.pop(), 0, []
    with contextlib.ExitStack() as stack:
        for path in paths:
            content, get_array, get_model = stack.enter_context(archive.reading(path))
            given = content["run"]["identity"]["rows"].values()
            size = next(each["rows"] for each in given if "rows" in each)
            rows = slice(max(begin - start, 0), max(min(end - start, size), 0))
            start += size
            if rows.start < rows.stop:
                unpacker = Unpacker(get_array, get_model)
                for number, module in enumerate(graph.modules):
                    if module in graph.observations.values():
                        unpacker.refer(module.data, number)
                files.append((content["state"]["modules"], unpacker, rows))
        yield lambda number, state: _with_rows(graph, files, number, state)


def _can_be_dealt_out(module):
    """Whether a module keeps nothing of samples but messages and `samples_in_state`."""
    known = Module.get_state, LearningModule.get_state, Observation.get_state
    plain = type(module).get_state in known
    return (plain or module.learns_over_hosts) and not module.holds_data and not module.num_rows


def _with_rows(graph, files, number, state):
    """The state of a module with the rows of this host, from the files that have some of them."""
    data = [module.data for module in graph.observations.values()]

    def collect(find):
        parts = []
        for states, unpacker, rows in files:
            value = unpacker.unpack(find(states[number]))
            if value is None or any(value is own for own in data):
                return value
            parts.append(value.take(rows) if isinstance(value, messages.Message) else value[rows])
        return messages.join(parts)

    module, entries = graph.modules[number], dict(state["state"])
    entries |= {
        name: collect(lambda s, name=name: s["state"][name]) for name in module.samples_in_state
    }
    if "lengths" in entries:  # of the sequences that this host was given
        entries["lengths"] = module.lengths
    backward = [
        [sender, collect(lambda s, place=place: s["backward"][place][1])]
        for place, (sender, _) in enumerate(state["backward"])
    ]
    state = {**state, "state": entries, "backward": backward}
    return state | ({"forward": collect(lambda s: s["forward"])} if "forward" in state else {})
