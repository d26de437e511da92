"""A text file of what passes."""

import pathlib

from kserket.core import results
from kserket.core.attributes import Folder
from kserket.core.options import check_path
from kserket.core.registry import register_module
from kserket.typing import PathLike
from kserket.utils.pass_through import PassThrough


@register_module("kserket")
class TextSaver(PassThrough):
    """Writes what passes to a text file at every update, and passes all of it on, both ways.

    Args:
        filename: The file. Its folder is made if there is none.
        name: Module name.

    Messages:
        Reads: anything, from one module. Forward: the same. Backward: what came from above.

    Files:
        `filename`, one row a line, as `np.loadtxt` reads it.

    Example:

    ```python
    import numpy as np

    import kserket as srk
    from kserket import utils

    obs = srk.Observation(np.eye(3))
    saver = utils.TextSaver("eye.txt")
    saver.connect(obs)
    saver.update()
    print(np.loadtxt("eye.txt"))
    ```
    """

    filename = Folder()

    def __init__(self, filename: PathLike, name: str = "textsaver") -> None:
        check_path(filename=filename)
        super().__init__(name)
        self.filename = filename

    def write_below(self, folder: PathLike | None) -> None:
        """A relative path keeps its folders below `folder`; of another only its last part stays."""
        own = self.filename
        if own.anchor or ".." in own.parts:
            own = pathlib.Path(f"{self.get_name()}.txt" if own.name in ("", "..") else own.name)
        self.filename = None if folder is None else pathlib.Path(folder) / own

    def update(self) -> None:
        """Passes on what is read, and writes it."""
        super().update()
        if self.filename is None:
            return
        self.filename.parent.mkdir(parents=True, exist_ok=True)
        results.write_text(self.filename, self.get_forward_msg())
