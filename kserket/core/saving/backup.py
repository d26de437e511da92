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
from kserket.core.saving.data import describe_all_rows
from kserket.core.saving.dealing import dealing_out
from kserket.core.saving.graph_file import (
    describe_config,
    describe_rows,
    pack_state,
    restore_state,
    versions,
)

_NAME = re.compile(r"from(\d+)_round(\d+)(?:_host(\d+)of(\d+))?\.kserket")


class Backup:
    """Keeps the last finished round of one call of `Graph.fit`.

    A call is known by the round at which it began, so that several calls share a folder. A new
    file is complete and on disk before the one it replaces is removed. Data are not in it.

    Of several hosts each writes a file, since messages stay where their rows are. None removes the
    round before until all have written the new one, and all go on from the last round that all
    have. They may share a folder. If they do, another number of hosts goes on, too, with the same
    rows in the same order.

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
            "rows": {name: describe_rows(module) for module, name in graph.names.items()},
        }
        for name, module in graph.observations.items():
            self.identity["modules"][name]["data"] = describe_all_rows(module.data)

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
            ValueError: If the folder holds another graph's run, or more rounds than asked for; or
                one of another number of hosts, whose messages cannot be dealt out to these.
        """
        done, paths = self._last()
        if done < 0:
            return self.rounds
        deals_out = len(paths) != self.num_hosts
        with (
            archive.reading(paths[0 if deals_out else self.host]) as (
                content,
                get_array,
                get_model,
            ),
            dealing_out(self.graph, paths) if deals_out else contextlib.nullcontext() as with_rows,
        ):
            run = content["run"]
            there, here = dict(run["identity"]), dict(self.identity)
            if deals_out:  # each host was given its own
                there["rows"] = here["rows"] = None
            difference = _difference(there, here)
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
            unpacker = Unpacker(get_array, get_model)
            restore_state(self.graph, content["state"], unpacker, with_rows)
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
        path = self._path(self.graph.round, self.host, self.num_hosts)
        older = [
            other
            for (_, host, number), other in self._found().items()
            if (host == self.host or number != self.num_hosts) and other != path
        ]
        archive.write(
            path, {**versions(), "run": run, "state": state}, packer.arrays, packer.models
        )
        hosts.any_host(False)  # goes on when all have come here
        for other in older:
            with contextlib.suppress(FileNotFoundError):
                os.remove(other)

    def _path(self, done, host, number):
        """The file of a round by one of so many hosts."""
        part = "" if number == 1 else f"_host{host}of{number}"
        return self.folder / f"from{self.begin:04d}_round{done:04d}{part}.kserket"

    def _found(self):
        """Files of this call that are here: dict from round, host and number of hosts to path."""
        found = [(_NAME.fullmatch(path.name), path) for path in self.folder.iterdir()]
        return {
            (int(match[2]), int(match[3] or 0), int(match[4] or 1)): path
            for match, path in found
            if match and int(match[1]) == self.begin
        }

    def _last(self):
        """The last round that all hosts have finished, -1 if none; and the files of all of them.

        Those are hosts as many as now, or others whose files all hosts find here.
        """
        found, now = self._found(), self.num_hosts
        own = {done for done, host, number in found if (host, number) == (self.host, now)}
        whole = [
            (done, number)
            for done, host, number in found
            if number != now and all((done, other, number) in found for other in range(number))
        ]
        last = hosts.gather_rows(np.array([[max(own, default=-1), *max(whole, default=(-1, 0))]]))
        done = int(last[:, 0].min())
        if hosts.any_host(done not in own):
            done = -1
        if done < last[0, 1] and (last[0, 1:] == last[:, 1:]).all():
            done, now = map(int, last[0, 1:])
        others = {number for _, _, number in found if number != now}
        if done < 0 and (last[:, 0] >= 0).any():
            raise ValueError(
                f"{self.folder} must hold the backups of all hosts from one run. Their last "
                f"finished rounds are {last[:, 0].tolist()} (-1: none). Put the files of each host "
                "where it looks for them, or remove them all to start over."
            )
        if done < 0 and hosts.any_host(bool(others)):
            before = ", ".join(map(str, sorted(others))) or "another number of"
            raise ValueError(
                f"{self.folder} holds the backup of a run on {before} host(s), of which each of "
                f"the {now} that there are now must find all files: share the folder. Or start as "
                "many as before; or go on from a file of graph.save(path, include_data=False), "
                "which knows no rows: load it and give each host its rows by set_data()."
            )
        return done, [self._path(done, host, now) for host in range(now)]


def _difference(there, here, where=""):
    """Words for the first difference of two JSON values, or None."""
    if isinstance(there, dict) and isinstance(here, dict):
        for key in {**there, **here}:
            if there.get(key) != here.get(key):
                return _difference(there.get(key), here.get(key), f"{where}/{key}")
        return None
    return None if there == here else f"{where[1:]} was {there}, is now {here}"
