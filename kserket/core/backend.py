"""TensorFlow and Keras, imported once and without TensorFlow's start-up chatter.

TensorFlow's libraries print "Could not find cuda drivers on your machine" to standard error while
they are loaded, before any of their log settings is read, and once more as an error when devices
are first looked for. Importing this module before anything that imports TensorFlow keeps those
lines, and only those, from the user. It does nothing where TensorFlow is already imported or
where `TF_CPP_MIN_LOG_LEVEL=0` asks for every line.
"""

import contextlib
import glob
import importlib
import os
import re
import sys
import tempfile

# Lines of level INFO, "I0000 00:00:1700000000.000000  4711 file.cc:31] ...", absl's remark, and
# the "error" that a machine without a GPU has no GPU.
_CHATTER = re.compile(
    rb"I\d{4} |WARNING: All log messages before absl::InitializeLog\(\)|E\d{4} .*cuInit"
)


@contextlib.contextmanager
def _without_chatter():
    """Holds back what is written to standard error, then passes it on without INFO lines."""
    try:
        saved = os.dup(2)
    except OSError:  # no standard error at all: nothing to keep clean
        yield
        return
    with tempfile.TemporaryFile() as held:
        sys.stderr and sys.stderr.flush()
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr and sys.stderr.flush()
            os.dup2(saved, 2)
            os.close(saved)
            held.seek(0)
            for line in held:
                if not _CHATTER.match(line):
                    os.write(2, line)


def _import_keras():
    """Imports TensorFlow, then Keras; ImportError unless Keras runs on TensorFlow."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
    chatty = "tensorflow" in sys.modules or os.environ["TF_CPP_MIN_LOG_LEVEL"] == "0"
    with contextlib.nullcontext() if chatty else _without_chatter():
        tensorflow = importlib.import_module("tensorflow")
        if not glob.glob("/dev/nvidia*"):  # with one, the user decides when
            tensorflow.config.list_physical_devices()  # looks for drivers, and complains
    advice = (
        "kserket needs Keras with the TensorFlow backend. Set KERAS_BACKEND=tensorflow (or "
        '"backend": "tensorflow" in keras.json) before Keras is first imported.'
    )
    try:
        import keras
    except (ImportError, ValueError) as error:
        raise ImportError(f"{advice} Importing Keras failed with: {error}") from error
    if keras.backend.backend() != "tensorflow":
        raise ImportError(f"{advice} Received: backend={keras.backend.backend()!r}")


_import_keras()
