"""What happened at a door, and whether that is as it should be."""

import contextlib
import pathlib
import signal
import traceback
import warnings

import keras
import numpy as np
from robustness import kinds

import kserket

HOME = str(pathlib.Path(kserket.__file__).parent)
OURS = (ValueError, TypeError, RuntimeError, ArithmeticError, LookupError, OSError)


# A dict of x is one of the ways to give a model of these rooms its data.
TAKEN = dict.fromkeys(("mixture", "chain", "mlda", "vae"), ("dict of x",))


class Hang(BaseException):
    """A case took too long."""


@contextlib.contextmanager
def time_limit(seconds):
    """Ends what takes longer with `Hang`."""

    def ring(*_):
        raise Hang

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def is_ours(error):
    """Whether a line of kserket raised the error, and not a function that it called."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    raises = last.line.startswith("raise") and last.filename.startswith(HOME)
    return isinstance(error, OURS) and raises


def state_of(target):
    """Every number that a call might change, copied."""
    if isinstance(target, keras.Model):
        return [weight.copy() for weight in target.get_weights()]
    if isinstance(target, kserket.Graph):
        own = [np.array(weight) for weight in target.get_weights()]
        return [*own, np.array(target.round), *map(state_of, target.observations.values())]
    if isinstance(target, kserket.Module):
        messages = (target.get_forward_msg(), target.get_backward_msg())
        return [None if message is None else np.array(message) for message in messages]
    return None


def flat(outcome):
    """Arrays of an outcome by path."""
    if hasattr(outcome, "_asdict"):
        outcome = outcome._asdict()
    return [np.asarray(leaf) for leaf in keras.tree.flatten(outcome)]


def equal(first, second):
    first, second = flat(first), flat(second)
    return len(first) == len(second) and all(
        a.shape == b.shape and np.array_equal(a, b, equal_nan=a.dtype.kind in "fc")
        for a, b in zip(first, second, strict=True)
    )


def differs(outcome, expected, rtol=1e-5, atol=1e-6):
    """In what way an outcome is not the expected one; None if it is."""
    outcome, expected = flat(outcome), flat(expected)
    if len(outcome) != len(expected):
        return "another number of results"
    for a, b in zip(outcome, expected, strict=True):
        if a.shape != b.shape:
            return f"shape {a.shape}, expected {b.shape}"
        if b.dtype.kind in "fiub":
            if a.dtype.kind not in "fiub" or not np.allclose(a, b, rtol, atol, equal_nan=True):
                return f"other numbers ({a.dtype})"
        elif not np.array_equal(a, b):
            return "other values"
    return None


def attempt(run, target, value, seconds=300):
    """`(result, error, warning)` of one call; a warning is of NumPy's or Python's own."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            with time_limit(seconds):
                result, error = run(target, value), None
        except (Exception, Hang) as raised:
            result, error = None, raised
    others = [str(each.message) for each in caught if each.category is not UserWarning]
    return result, error, " ".join(others[:1])


class Judge:
    """Brings odd forms of data to one door.

    Args:
        door: A `doors.Door`.
    """

    def __init__(self, door):
        self.door = door
        self.expected = {}
        self.start()

    def start(self):
        """Makes what the call works on again."""
        self.target = self.door.make()
        self.before = state_of(self.target)

    def go_on(self):
        """Makes it again if a call has changed it."""
        if self.before is not None and not equal(self.before, state_of(self.target)):
            self.start()

    def reference(self, array):
        """Result and error of a float64 array in C order."""
        key = array.tobytes()
        if key not in self.expected:
            self.expected[key] = attempt(self.door.run, self.target, array)[:2]
            self.go_on()
        return self.expected[key]

    def verdict(self, kind):
        """None if all is well, else what is not."""
        array = kinds.reference(kind, self.door.base)
        expected, refusal = (None, None) if array is None else self.reference(array)
        if refusal is not None and not is_ours(refusal):
            return f"inner error for float64, too: {words_of(refusal)}"
        value = kinds.KINDS[kind](self.door.base * 1.0 if array is None else array)
        result, error, warning = attempt(self.door.run, self.target, value)
        if isinstance(error, Hang):
            self.start()
            return "hangs"
        if error is not None:
            same = self.before is None or equal(self.before, state_of(self.target))
            if not same:
                self.start()
                return f"is changed by an error: {words_of(error)}"
            return self._of_error(error)
        self.go_on()
        return self._of_result(kind, result, expected, refusal, warning)

    def _of_error(self, error):
        if self.door.lets_pass(error):
            return None
        if not is_ours(error):
            return f"inner error: {words_of(error)}"
        if not any(word in str(error) for word in self.door.words):
            return f"does not name the argument: {words_of(error)}"
        return None

    def _of_result(self, kind, result, expected, refusal, warning):
        if refusal is not None:
            return f"accepted, where float64 is refused: {words_of(refusal)}"
        if warning:
            return f"taken with a warning: {warning}"
        if expected is not None:
            return differs(result, expected)
        if kind not in (*self.door.takes, *TAKEN.get(self.door.room, ())):
            return "accepted"
        if not all(np.isfinite(part).all() for part in flat(result) if part.dtype.kind == "f"):
            return "taken, and the result is not finite"
        return None


def words_of(error):
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
