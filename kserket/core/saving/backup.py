"""The last finished round of a run, in a folder, so that a run that was killed goes on."""

import contextlib
import os
import pathlib
import re

from kserket.core import files
from kserket.core.saving import archive
from kserket.core.saving.codec import Packer, Unpacker
from kserket.core.saving.graph_file import describe_config, pack_state, restore_state, versions

_NAME = re.compile(r"from(\d+)_round(\d+)\.kserket")


class Backup:
    """Keeps the last finished round of one call of `Graph.fit`.

    A call is known by the round at which it began, so that several calls share a folder. A new
    file is complete and on disk before the one it replaces is removed. Data are not in it.

    Args:
        graph: The `Graph`, as the call finds it.
        folder: The folder; made if it is not there.
        rounds: Number of rounds of the call.
        schedule: The call's schedule, by name.
    """

    def __init__(self, graph, folder, rounds, schedule=None):
        self.graph, self.folder = graph, pathlib.Path(folder)
        self.begin, self.rounds = graph.round, int(rounds)
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
        with files.holding(self.folder) as self._take:
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
        found = self._files()
        if not found:
            return self.rounds
        done, path = max(found)
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
        path = self.folder / f"from{self.begin:04d}_round{self.graph.round:04d}.kserket"
        archive.write(
            path, {**versions(), "run": run, "state": state}, packer.arrays, packer.models
        )
        for _, other in older:
            if other != path:
                with contextlib.suppress(FileNotFoundError):
                    os.remove(other)

    def _files(self):
        """Pairs of finished rounds and path of this call's files."""
        found = [(_NAME.fullmatch(path.name), path) for path in self.folder.iterdir()]
        return [
            (int(match[2]), path) for match, path in found if match and int(match[1]) == self.begin
        ]


def _difference(there, here, where=""):
    """Words for the first difference of two JSON values, or None."""
    if isinstance(there, dict) and isinstance(here, dict):
        for key in {**there, **here}:
            if there.get(key) != here.get(key):
                return _difference(there.get(key), here.get(key), f"{where}/{key}")
        return None
    return None if there == here else f"{where[1:]} was {there}, is now {here}"
