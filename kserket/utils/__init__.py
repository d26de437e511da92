"""Small modules that stand between others: `GroupSum`, `TextSaver`, `Buffer`.

They learn nothing. What comes from above goes down through them, row by row to where it belongs.
"""

from kserket.utils.buffer import Buffer
from kserket.utils.group_sum import GroupSum
from kserket.utils.text_saver import TextSaver

__all__ = ["Buffer", "GroupSum", "TextSaver"]
