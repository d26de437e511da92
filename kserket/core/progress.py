"""Progress of long work on one line: what runs, how far it is, how long it will take."""

import contextlib
import signal
import statistics
import sys
import threading
import time

import keras

from kserket import hosts
from kserket.core.options import check_verbose

SHOWN = ("loss", "log_likelihood", "accuracy")  # figures in a round's line; history has all
MIN_INTERVAL = 0.2  # seconds between two rewrites of the line on a terminal
LOG_INTERVAL = 30.0  # seconds between two lines where nothing can be rewritten
PATIENCE = 3.0  # seconds that a single update may take before it shows itself


class Line:
    """The line that shows where work is, rewritten where that is possible.

    Args:
        shows_steps: Whether steps are shown.
        rewrites: Whether a line may be overwritten: on a terminal, in a notebook.
        patience: Seconds before the first step is shown.
        of: What the time left of these steps is the time left of, where that may be unclear.
    """

    def __init__(self, shows_steps, rewrites, patience=0.0, of=""):
        self.shows_steps, self.rewrites, self.of = shows_steps, rewrites, of
        interval = MIN_INTERVAL if rewrites else LOG_INTERVAL
        self.due = time.monotonic() + max(interval, patience)
        self.width = 0
        self.work = self.work_begin = None
        self.output = None  # where a notebook shows the running line

    def step(self, name, done, total, unit, left=None):
        """Shows a step, if the last report is long enough ago.

        Args:
            name: Who takes it.
            done: Steps done.
            total: Steps planned.
            unit: What a step is.
            left: What to say of the time left; None works it out for these steps.
        """
        now = time.monotonic()
        if (name, unit) != self.work or done <= 1:
            self.work, self.work_begin, self.first_done = (name, unit), now, done
        if not self.shows_steps or now < self.due:
            return
        self.due = now + (MIN_INTERVAL if self.rewrites else LOG_INTERVAL)
        if left is None and done > self.first_done:
            each = (now - self.work_begin) / (done - self.first_done)
            left = f"{format_seconds(each * (total - done))} left{self.of}"
        place = f"{name} {bar(done / total)}" if self.rewrites else name
        self.put(f"{place} {unit} {done}/{total}" + (f" - {left}" if left else ""))

    def put(self, text, ends=False):
        """Writes the line; it stays if `ends` is true or nothing can be rewritten."""
        if self.rewrites and _in_notebook():
            self._display(text, ends)
            return
        ends = ends or not self.rewrites
        padding = " " * max(0, self.width - len(text))
        self.width = 0 if ends else len(text)
        sys.stdout.write(("\r" if self.rewrites else "") + text + padding + "\n" * ends)
        sys.stdout.flush()

    def clear(self):
        """Takes an unfinished line away."""
        if self.output is not None:
            self._display("", ends=True)
        if self.width:
            sys.stdout.write("\r" + " " * self.width + "\r")
            sys.stdout.flush()
            self.width = 0

    def _display(self, text, ends):
        """Shows the line as one output of a notebook's cell, which later ones replace."""
        from IPython.display import display

        content = {"text/plain": text}
        if self.output is None:
            self.output = display(content, raw=True, display_id=True)
        else:
            self.output.update(content, raw=True)
        if ends:
            self.output = None


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
        check_verbose(verbose)
        self.total, self.first = total, first
        self.verbose = verbose
        shows_steps, rewrites = bool(verbose) and verbose != 2, verbose != 2 and _can_rewrite()
        self.line = Line(shows_steps, rewrites, of=" in this update")
        self.begin = self.round_begin = time.monotonic()
        self.seconds = []  # of each round of this run

    def step(self, round_index, name, done, total, unit):
        """Shows a step inside a round, if the last report is long enough ago."""
        left = self._left(round_index)
        place = f"Round {round_index + 1}/{self.total} - {name}"
        self.line.step(place, done, total, unit, left)

    def end_round(self, round_index, figures):
        """Shows the figures of a round that ended."""
        now = time.monotonic()
        self.seconds.append(now - self.round_begin)
        self.round_begin = now
        if not self.verbose:
            return
        parts = [f"Round {round_index + 1}/{self.total}", f"{self.seconds[-1]:.1f}s"]
        parts += [
            f"{name}: {value:.4g}"
            for name, value in figures.items()
            if name.rpartition("/")[2] in SHOWN
        ]
        changes = [value for name, value in figures.items() if name.endswith("/message_change")]
        if changes and max(changes) < float("inf"):
            parts.append(f"messages changed by {max(changes):.2g}")
        if round_index + 1 < self.total:
            parts.append(self._left(round_index + 1))
        self.line.put(" - ".join(filter(None, parts)), ends=True)

    def _left(self, rounds_done):
        """The time left, None before it is known: the first round compiles, the next one may."""
        usual = self.seconds[1:][-5:]
        if len(usual) < 2:
            return None
        running = time.monotonic() - self.round_begin
        left = statistics.median_low(usual) * (self.total - rounds_done) - running
        return f"{format_seconds(max(0.0, left))} left"


@contextlib.contextmanager
def showing_sweeps(name, figure, verbose):
    """Shows the sweeps of a model's own `fit`.

    Args:
        name: The model's name.
        figure: Name of the value that each sweep gives.
        verbose: 0 is silent; "auto" shows a fit that takes long, unless
            `keras.utils.disable_interactive_logging()` was called; 1 shows every fit and the
            value it ended with, 2 the latter only.

    Yields:
        Callable `show(sweep, num_sweeps, value)`.
    """
    check_verbose(verbose)
    is_auto = verbose == "auto"
    shows = keras.utils.is_interactive_logging_enabled() if is_auto else verbose in (1, True)
    line = Line(shows, shows and _can_rewrite(), PATIENCE if is_auto else 0.0)
    last = None

    def show(sweep, num_sweeps, value):
        nonlocal last
        last = f"{name} - {sweep} sweeps - {figure}: {value:.6g}"
        line.step(name, sweep, num_sweeps, "sweep")

    yield show
    if verbose and not is_auto and last is not None:
        line.put(last, ends=True)
    else:
        line.clear()


@contextlib.contextmanager
def showing_steps(module):
    """Shows the steps of one update that takes long, where nothing else watches the module.

    `keras.utils.disable_interactive_logging()` silences it.

    Args:
        module: A `LearningModule`.
    """
    if module.on_step is not None or not keras.utils.is_interactive_logging_enabled():
        yield
        return
    line = Line(True, _can_rewrite(), PATIENCE)

    def show(done, total, unit):
        line.step(module.get_name(), done, total, unit)

    module.on_step = show
    try:
        yield
    finally:
        module.on_step = None
        line.clear()


class Steps(keras.callbacks.Callback):
    """Tells a module's observer how far an update is, and stops where it answers true.

    One step is one of the model's epochs.

    Args:
        module: The `LearningModule` whose `learn` trains the model.
        total: Number of steps planned.
        unit: What a step is: "epoch", "sweep".
    """

    reads_weights = False

    def __init__(self, module, total, unit):
        super().__init__()
        self.module, self.total, self.unit = module, total, unit

    def on_epoch_end(self, epoch, logs=None):
        watch = self.module.on_step
        if watch is not None and watch(epoch + 1, self.total, self.unit):
            self.model.stop_training = True


@contextlib.contextmanager
def stopping_on_interrupt(graph):
    """Ctrl-C sets `graph.interrupted` and `graph.stop_training`; the second one raises.

    Of several hosts it ends the one that hears it, for which the others would wait.

    Args:
        graph: The `Graph` that runs. Outside the main thread nothing is changed.
    """
    graph.interrupted = False
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or hosts.num_hosts() > 1:
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


def bar(share, width=16):
    """A bar that is filled to a share of its width.

    Args:
        share: From 0 to 1.
        width: Its length in characters.
    """
    filled = round(width * min(max(share, 0.0), 1.0))
    can_draw = "utf" in (sys.stdout.encoding or "").lower()
    full, empty = "\u2501\u2500" if can_draw else "#-"
    return full * filled + empty * (width - filled)


def format_seconds(seconds):
    """ "3 s", "2 min 5 s" or "1 h 4 min"."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60} min"


def _can_rewrite():
    may = keras.utils.is_interactive_logging_enabled()
    return may and (_in_notebook() or sys.stdout.isatty())


def _in_notebook():
    """Whether this process is the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None
