"""A whole graph in one file, and backups of a run in a folder.

`archive` writes and reads the file and trusts none; `codec` turns values into JSON, arrays and
Keras models; `data` tells of data; `graph_file` says what of a graph is kept; `backup` keeps the
last round of a run. `kserket.core.loading` makes a graph of its file.
"""

from kserket.core.saving import archive
from kserket.core.saving.backup import Backup
from kserket.core.saving.codec import Unpacker
from kserket.core.saving.data import NotSaved, describe_data
from kserket.core.saving.graph_file import restore_state, save_graph

__all__ = [
    "Backup",
    "NotSaved",
    "Unpacker",
    "archive",
    "describe_data",
    "restore_state",
    "save_graph",
]
