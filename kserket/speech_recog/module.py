"""Serket's `speech_recog.SpeechRecog`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kserket import floors
from kserket.core import files, messages, results
from kserket.core.attributes import OwnFolder
from kserket.core.inference import Inference
from kserket.core.module import Module
from kserket.core.node import Node, full_name
from kserket.core.options import (
    check_choice,
    check_positive,
    check_positive_int,
    check_seed,
)
from kserket.core.registry import register_module
from kserket.inference import hypotheses
from kserket.speech_recog.recognizers import PocketSphinx
from kserket.speech_recog.recordings import Recordings
from kserket.typing import Floats, Mode, PathLike


@register_module("kserket")
class SpeechRecog(OwnFolder, Module):
    """Serket's `speech_recog.SpeechRecog`: recordings as counts of words that a graph may correct.

    A recognizer proposes several sentences for each recording, once. In every update they are
    weighed by its score and by how likely the module above holds their words for this sample, and
    the expected counts of words go up (sampling-importance-resampling with the draw averaged out).
    The proposals are an observation of their own below this module, called "recordings".

    Args:
        wave_files: List of samples: each a path of a WAV file, or a list of paths of recordings
            that belong to it, whose counts add up. None stands for a sample that was not heard.
            With a `recognizer` of your own, strings of any meaning. None instead of the list:
            `connect` it to a `Recordings`.
        nbest: Most sentences for a recording.
        threshold: In how many recordings a word must be proposed to be counted.
        lmp: Weight of the recognizer's language model, and logarithm of the probability that one
            more word follows. Not used with a `recognizer` of your own.
        itr: Not used: iterations of the word segmentation of Serket's recognizer.
        name: Module name.
        recognizer: Function from a recording to a list of `(words, log score)`, best first; None is
            `PocketSphinx`. A saved graph does not hold it: set
            `graph["recordings"].recognizer` after loading, to predict from recordings.
        resample: "expected" sends expected counts; "one" those of one sentence, drawn in each
            update, as Serket does.
        score_weight: Power of the recognizer's score beside P(w | d). 0 leaves it out, as Serket
            does.
        mode: "learn" makes the vocabulary from all proposals; "recog" reads the one that an earlier
            run made.
        save_dir: The folder in which `module000_speech_recog/` is made. None writes nothing.
        load_dir: The module's own folder, written by an earlier run.
        seed: Integer that decides the draws of `resample="one"`.

    Messages:
        Reads: hypotheses (N, R, B, 2 + L) of its recordings. Forward: counts (N, V). Backward:
        none. Prior: P(w | d), (N, V); without it, the recognizer's score alone decides.

    Files:
        `parameters.h5` (vocabulary), `dict.txt` (one word a line), `word.txt` (counts, one row a
        sample).

    Raises:
        FileNotFoundError: If a recording is not there.
        ImportError: If `pocketsphinx` is needed and not installed: `pip install "kserket[speech]"`.
        ValueError: If an option is out of range, or a recognizer returns something else.

    Reference:
        Taniguchi et al., "Neuro-SERKET", New Generation Computing 38, 2020.

    Example:

    ```python
    import kserket as srk
    from kserket import speech_recog

    heard = {"a": [(["nine"], -1.0), (["mine"], -1.2)], "b": [(["five"], -0.5)]}
    speech = speech_recog.SpeechRecog(["a", "b"], recognizer=heard.get)
    speech.update()
    print(speech.words, speech.get_forward_msg().round(2))
    speech.set_backward_msg([[0.1, 0.8, 0.1], [0.1, 0.1, 0.8]])  # the graph knows of a mine
    speech.update()
    print(speech.get_forward_msg().round(2))
    ```
    """

    links_samples = False

    def __init__(
        self,
        wave_files: Any,
        nbest: int = 10,
        threshold: int = 1,
        lmp: Sequence[float] = (8.0, -2.0),
        itr: int = 200,
        name: str = "speech_recog",
        *,
        recognizer: Callable[[Any], Sequence[tuple[Sequence[str], float]]] | None = None,
        resample: str = "expected",
        score_weight: float = 1.0,
        mode: Mode = "learn",
        save_dir: PathLike | None = ".",
        load_dir: PathLike | None = None,
        seed: int = 0,
    ) -> None:
        check_positive_int(nbest=nbest, threshold=threshold, itr=itr)
        check_choice("resample", resample, "expected", "one")
        check_choice("mode", mode, "learn", "recog")
        check_positive(score_weight=score_weight, allow_zero=True)
        self.lmp = _two_numbers(lmp)
        self.save_dir, source = save_dir, None
        if wave_files is not None:
            if mode == "recog" and load_dir is None and save_dir is not None:
                load_dir = self.save_dir / full_name(Node.next_number(), name)
            source = Recordings(
                wave_files,
                mode=mode,
                recognizer=recognizer or PocketSphinx(nbest, None, *self.lmp),
                nbest=nbest,
                threshold=threshold,
                load_dir=load_dir,
            )
            Node.next_number(source.number)  # Serket numbers the two as one module
        super().__init__(name, learnable=False)
        self.nbest, self.threshold, self.itr = int(nbest), int(threshold), int(itr)
        self.resample, self.score_weight = resample, float(score_weight)
        self.mode, self.seed = mode, check_seed(seed)
        self.num_words: int | None = None
        if source is not None:
            self.connect(source)

    def get_config(self) -> dict[str, Any]:
        """What makes it again above its recordings."""
        options = "nbest", "threshold", "lmp", "itr", "name", "resample", "score_weight"
        now = {name: getattr(self, name) for name in (*options, "mode", "save_dir", "seed")}
        return {"wave_files": None, **now}

    def get_state(self) -> dict[str, Any]:
        return {**super().get_state(), "num_words": self.num_words}

    def set_state(self, state: dict[str, Any]) -> None:
        super().set_state(state)
        self.num_words = state.get("num_words", self.num_words)

    def write_below(self, folder: PathLike | None) -> None:
        self.save_dir = folder

    @property
    def words(self) -> list[str]:
        """The vocabulary, V strings in the order of the columns."""
        return getattr(self.inputs[0], "words", []) if self.inputs else []

    def update(self) -> None:
        """Weighs what was proposed by what comes from above, and sends counts of words."""
        inputs, prior = self.get_messages()
        if self.num_words is None:
            self.num_words = len(self.words) or _largest(inputs[0]) + 1
        probabilities, evidence = self._weighed(inputs, prior, self.resample == "one")
        change = messages.change(self.get_forward_msg(), evidence)
        self.set_forward_msg(evidence)
        self.logs = {"sure": _sureness(probabilities), "message_change": change}
        self._write(evidence)
        self.rounds += 1

    def infer(self, inputs: list[Any], prior: Any) -> Inference:
        """Expected counts of words, whatever `resample` is. Changes nothing.

        Args:
            inputs: List of one array of hypotheses (N, R, B, 2 + L).
            prior: P(w | d), (N, V), or None.

        Returns:
            An `Inference` without posterior.
        """
        return Inference(self._weighed(inputs, prior, draws=False)[1], [None])

    def _weighed(self, inputs, prior, draws):
        """Probabilities of hypotheses (N, R, B), and counts (N, V); rows of NaN are missing."""
        if len(inputs) != 1:
            raise ValueError(f"{self.get_name()} reads one module. Received: {len(inputs)}")
        proposed = np.asarray(inputs[0], "float64")
        hypotheses.check(proposed, self.num_words)
        missing = messages.missing_rows(proposed)
        seen = np.ones(len(proposed), bool) if missing is None else ~missing
        log_words = None if prior is None else _log_words(prior, self)[seen]
        probabilities = hypotheses.weights(proposed[seen], log_words, self.score_weight)
        if draws:
            rng = np.random.default_rng([self.seed, self.rounds])
            probabilities = hypotheses.drawn(probabilities, rng)
        evidence = np.full((len(proposed), self.num_words), np.nan)
        evidence[seen] = hypotheses.counts(proposed[seen], probabilities, self.num_words)
        return probabilities, evidence

    def _write(self, evidence):
        if self.folder is None:
            return
        with files.naming(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        source = self.inputs[0]
        with files.replacing() as open_new:
            if self.mode == "learn" and isinstance(source, Recordings) and source.parameters:
                metadata = {"module": "Recordings", "settings": {}}
                path = self.folder / Recordings.parameters_file
                results.write_parameters(path, source.parameters, metadata, open_new)
            results.write_text(self.folder / "word.txt", np.nan_to_num(evidence), open_new)
            text = "".join(f"{word}\n" for word in self.words)
            open_new(self.folder / "dict.txt").write(text.encode("utf-8"))


def _log_words(prior, module) -> Floats:
    """Logarithms of P(w | d), (N, V)."""
    words = np.asarray(prior, "float64")
    if words.shape[1:] != (module.num_words,) or (words < 0).any():
        raise ValueError(
            f"{module.get_name()} needs probabilities of its {module.num_words} words from above. "
            f"Received: shape {words.shape}, minimum {words.min()}"
        )
    total = np.maximum(words.sum(axis=1, keepdims=True), floors.SMALLEST)
    return np.log(np.maximum(words / total, floors.SMALLEST))


def _largest(proposed):
    """The largest number of a word."""
    return int(np.nanmax(np.asarray(proposed)[..., 2:]))


def _sureness(probabilities):
    """The mean probability of the likeliest sentence of a recording."""
    best = probabilities.max(axis=-1)
    return float(best[best > 0].mean()) if (best > 0).any() else 0.0


def _two_numbers(lmp):
    try:
        weight, insertion = (float(value) for value in lmp)
    except (TypeError, ValueError):
        weight = insertion = np.nan
    if not (np.isfinite([weight, insertion]).all() and weight > 0):
        raise ValueError(
            "`lmp` must hold a positive weight of the language model, and the logarithm of the "
            f"probability of a further word. Received: {lmp!r}"
        )
    return [weight, insertion]
