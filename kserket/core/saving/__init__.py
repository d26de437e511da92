"""A whole graph in one file, and backups of a run in a folder.

`archive` writes and reads the file and trusts none; `codec` turns values into JSON, arrays and
Keras models; `graph_file` says what of a graph is kept; `backup` keeps the last round of a run.
"""

from kserket.core.saving.backup import Backup
from kserket.core.saving.graph_file import load_graph, save_graph

__all__ = ["Backup", "load_graph", "save_graph"]
