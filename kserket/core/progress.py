"""Progress of long work on one line: what runs, how far it is, how long it will take."""

import contextlib
import signal
import sys
import threading
import time

import keras

MIN_INTERVAL = 0.2  # seconds between two rewrites of the line on a terminal
SHOWN = ("loss", "log_likelihood", "accuracy")  # figures in a round's line; history has all
LOG_INTERVAL = 30.0  # seconds between two lines where nothing can be rewritten


class Progress:
    """Reports rounds, and the epochs or sweeps inside them.

    On a terminal or in a notebook the running line is rewritten; in a log file there is one
    line a round and one every half minute within.

    Args:
        total: Number of rounds.
        verbose: "auto" and 1 report, 2 reports ended rounds only, 0 is silent.
        first: Rounds done before, in a run that goes on.
    """

    def __init__(self, total, verbose="auto", first=0):
        if verbose not in (0, 1, 2, "auto", False, True):
            raise ValueError(f"`verbose` must be 'auto', 0, 1 or 2. Received: {verbose!r}")
        self.total, self.first = total, first
        self.rewrites = verbose != 2 and _can_rewrite()
        self.shows_steps = bool(verbose) and verbose != 2
        self.shows_rounds = bool(verbose)
        self.begin = self.last = time.monotonic()
        self.width = 0

    def step(self, round_index, name, done, total, unit):
        """Shows a step inside a round, if the last report is long enough ago."""
        now = time.monotonic()
        if not self.shows_steps or now - self.last < (
            MIN_INTERVAL if self.rewrites else LOG_INTERVAL
        ):
            return
        self.last = now
        text = f"Round {round_index + 1}/{self.total} - {name} {unit} {done}/{total}"
        if round_index > self.first:
            text += f" - {self._left(round_index, now)}"
        self._put(text, ends=not self.rewrites)

    def end_round(self, round_index, figures):
        """Shows the figures of a round that ended."""
        if not self.shows_rounds:
            return
        now = time.monotonic()
        seconds = (now - self.begin) / (round_index + 1 - self.first)
        parts = [f"Round {round_index + 1}/{self.total}", f"{seconds:.1f}s/round"]
        parts += [
            f"{name}: {value:.4g}"
            for name, value in figures.items()
            if name.rpartition("/")[2] in SHOWN
        ]
        changes = [value for name, value in figures.items() if name.endswith("/message_change")]
        if changes and max(changes) < float("inf"):
            parts.append(f"messages changed by {max(changes):.2g}")
        if round_index + 1 < self.total:
            parts.append(self._left(round_index + 1, now))
        self._put(" - ".join(parts), ends=True)

    def _left(self, rounds_done, now):
        done = rounds_done - self.first
        seconds = (now - self.begin) / done * (self.total - rounds_done)
        return f"{format_seconds(seconds)} left"

    def _put(self, text, ends):
        padding = " " * max(0, self.width - len(text))
        self.width = 0 if ends else len(text)
        start = "\r" if self.rewrites else ""
        sys.stdout.write(f"{start}{text}{padding}" + ("\n" if ends else ""))
        sys.stdout.flush()


@contextlib.contextmanager
def stopping_on_interrupt(graph):
    """Ctrl-C sets `graph.interrupted` and `graph.stop_training`; the second one raises.

    Args:
        graph: The `Graph` that runs. Outside the main thread nothing is changed.
    """
    graph.interrupted = False
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(signum, frame):
        if graph.interrupted:
            raise KeyboardInterrupt
        graph.interrupted = graph.stop_training = True
        print("\nStopping after this step. Press Ctrl-C again to stop at once.")

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def format_seconds(seconds):
    """ "3 s", "2 min 5 s" or "1 h 4 min"."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60} min"


def _can_rewrite():
    in_notebook = "ipykernel" in sys.modules
    return keras.utils.is_interactive_logging_enabled() and (in_notebook or sys.stdout.isatty())
