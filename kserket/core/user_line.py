"""Where a warning points to: the line of the user's program that called kserket."""

import sys


def user_level() -> int:
    """The `stacklevel` for `warnings.warn` in the caller: the nearest frame outside of kserket."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and _is_own(frame):
        frame, level = frame.f_back, level + 1
    return level


def _is_own(frame):
    """Whether a frame runs a file of this package."""
    return frame.f_globals.get("__name__", "").split(".")[0] == "kserket"
