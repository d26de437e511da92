"""The last finished round of a run, in a folder, so that a run that was killed goes on."""

import contextlib
import os
import pathlib
import re

import numpy as np

from kserket import hosts
from kserket.core import files
from kserket.core.saving import archive
from kserket.core.saving.codec import Packer, Unpacker
from kserket.core.saving.graph_file import describe_config, pack_state, restore_state, versions

_NAME = re.compile(r"from(\d+)_round(\d+)(?:_host(\d+)of(\d+))?\.kserket")


class Backup:
    """Keeps the last finished round of one call of `Graph.fit`.

    A call is known by the round at which it began, so that several calls share a folder. A new
    file is complete and on disk before the one it replaces is removed. Data are not in it.

    Of several hosts each writes a file, since messages stay where their rows are. None removes the
    round before until all have written the new one, and all go on from the last round that all
    have. They may share a folder.

    Args:
        graph: The `Graph`, as the call finds it.
        folder: The folder; made if it is not there.
        rounds: Number of rounds of the call.
        schedule: The call's schedule, by name.
    """

    def __init__(self, graph, folder, rounds, schedule=None):
        self.graph, self.folder = graph, pathlib.Path(folder)
        self.begin, self.rounds = graph.round, int(rounds)
        self.host, self.num_hosts = hosts.host_index(), hosts.num_hosts()
        self.identity = {
            "seed": graph.seed,
            "schedule": schedule or {},
            "modules": {name: describe_config(module) for module, name in graph.names.items()},
            "inputs": {
                name: [graph.names[source] for source in module.inputs] + [module.sends_back]
                for module, name in graph.names.items()
            },
        }

    @contextlib.contextmanager
    def held(self):
        """The folder made, found fit to be written to, and kept from other calls of `fit`.

        Raises:
            OSError: If it cannot be written to, or has no room.
            RuntimeError: If another call of `fit` has it.
        """
        lock = ".lock" if self.host == 0 else f".lock{self.host}"
        with files.holding(self.folder, lock) as self._take:
            files.clear_left_overs(self.folder / "any", prefix="from")
            files.check_room(self.folder)
            yield self

    def resume(self):
        """Puts the last finished round of this call into the graph, if there is one.

        Returns:
            The number of rounds that are left.

        Raises:
            ValueError: If the folder holds another graph's run, or more rounds than asked for.
        """
        found = dict(self._files())
        done = self._last_of_all(found)
        if done is None:
            return self.rounds
        path = found[done]
        with archive.reading(path) as (content, get_array, get_model):
            run = content["run"]
            difference = _difference(run["identity"], self.identity)
            if difference:
                raise ValueError(
                    f"it is a backup of another graph or run: {difference}. Give each its own "
                    "backup_dir, or remove the folder to start over."
                )
            if done > self.begin + self.rounds:
                raise ValueError(
                    f"it holds {done - self.begin} rounds, more than rounds={self.rounds}. Ask "
                    "for as many at least, or give another backup_dir."
                )
            restore_state(self.graph, content["state"], Unpacker(get_array, get_model))
        if run["stopped"] and self.rounds <= run["rounds"]:
            return 0
        return self.begin + self.rounds - done

    def save(self, stopped=False):
        """Writes the present graph, and removes the file of the round before.

        Args:
            stopped: Whether a callback or the tolerance ended the run here.
        """
        self._take()
        packer = Packer()
        state = pack_state(self.graph, packer)
        run = {"rounds": self.rounds, "stopped": bool(stopped), "identity": self.identity}
        older = self._files()
        part = "" if self.num_hosts == 1 else f"_host{self.host}of{self.num_hosts}"
        path = self.folder / f"from{self.begin:04d}_round{self.graph.round:04d}{part}.kserket"
        archive.write(
            path, {**versions(), "run": run, "state": state}, packer.arrays, packer.models
        )
        hosts.any_host(False)  # goes on when all have come here
        for _, other in older:
            if other != path:
                with contextlib.suppress(FileNotFoundError):
                    os.remove(other)

    def _files(self):
        """Pairs of finished rounds and path of this call's files of this host."""
        own = (str(self.host), str(self.num_hosts)) if self.num_hosts > 1 else (None, None)
        return [
            (int(match[2]), path) for match, path in self._matches() if match.groups()[2:] == own
        ]

    def _matches(self):
        """Pairs of the parts of a name and path, of this call's files of any host."""
        found = [(_NAME.fullmatch(path.name), path) for path in self.folder.iterdir()]
        return [(match, path) for match, path in found if match and int(match[1]) == self.begin]

    def _last_of_all(self, found):
        """The last round that all hosts have finished; None if there is none.

        Args:
            found: Dict from round to path of this host.
        """
        numbers = {int(match[4] or 1) for match, _ in self._matches()} - {self.num_hosts}
        if hosts.any_host(bool(numbers) and not found):
            before = ", ".join(map(str, sorted(numbers))) or "another number of"
            raise ValueError(
                f"{self.folder} holds the backup of a run on {before} host(s), and now there "
                f"are {self.num_hosts}, whose rows are others. Start as many as before; or go on "
                "from a file of graph.save(path, include_data=False), which knows no rows: load it "
                "and give each host its rows by set_data()."
            )
        last = hosts.gather_rows(np.array([max(found, default=-1)]))
        if last.max() < 0:
            return None
        if last.min() < 0 or hosts.any_host(int(last.min()) not in found):
            raise ValueError(
                f"{self.folder} must hold the backups of all hosts from one run. Their last "
                f"finished rounds are {last.tolist()} (-1: none). Put the files of each host "
                "where it looks for them, or remove them all to start over."
            )
        return int(last.min())


def _difference(there, here, where=""):
    """Words for the first difference of two JSON values, or None."""
    if isinstance(there, dict) and isinstance(here, dict):
        for key in {**there, **here}:
            if there.get(key) != here.get(key):
                return _difference(there.get(key), here.get(key), f"{where}/{key}")
        return None
    return None if there == here else f"{where[1:]} was {there}, is now {here}"
