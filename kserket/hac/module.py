"""Serket's `hac.HACFeatureExtractor`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kserket.core import sound
from kserket.core.features import Features
from kserket.core.options import check_positive_int, check_seed, is_whole
from kserket.core.registry import register_module
from kserket.inference import acoustic_cooccurrences
from kserket.typing import Array, Mode, PathLike


@register_module("kserket")
class HACFeatureExtractor(Features):
    """Serket's `hac.HACFeatureExtractor`: recordings as histograms of acoustic co-occurrences.

    The codebooks are those that k-means finds in the frames of all recordings, and are kept: new
    recordings, in `set_data` and in `Graph.predict`, are counted by them.

    Args:
        filenames: List of paths of WAV files, one a sample; None stands for a sample without a
            recording. Or features (N, D), made before.
        ks: Sizes of the codebooks of cepstrum, first and second derivative: three integers.
        lags: Numbers of frames between the sounds that are counted together.
        name: Module name.
        mode: "learn" makes codebooks; "recog" reads those that an earlier run made.
        sample_rate: Samples a second that recordings are resampled to. By default the rate of the
            first one.
        save_dir: The folder in which `module000_HACFeatureExtracter/` is made. None writes nothing.
        load_dir: A module's own folder, written by an earlier run.
        seed: Integer that decides the starts of k-means.
        **mfcc_params: Options of `librosa.feature.mfcc`. As in Serket, `n_mfcc=13`, `n_fft=2048`,
            `hop_length=512` and `n_mels=128` unless given.

    Messages:
        Reads: nothing. Forward: counts (N, len(lags) * sum(k^2)). Backward: kept, and ignored.

    Files:
        `parameters.h5` (codebooks), `hac.txt` (one row a recording).

    Raises:
        FileNotFoundError: If a file is not there.
        ImportError: If `librosa` is not installed: `pip install "kserket[audio]"`.
        TypeError: If an option is unknown to librosa.
        ValueError: If `ks` are not three positive integers, `lags` are not positive, or the
            recordings hold too few different frames.

    Reference:
        Van hamme, "HAC-models: a novel approach to continuous speech recognition", Interspeech
        2008.

    Example:

    ```python
    import numpy as np
    from scipy.io import wavfile

    from kserket import hac

    t = np.arange(8000) / 16000
    for name, pitch in {"low": 200, "high": 800}.items():
        wavfile.write(f"{name}.wav", 16000, np.sin(2 * np.pi * pitch * t**1.2).astype("float32"))
    hac1 = hac.HACFeatureExtractor(["low.wav", "high.wav"], [4, 4, 4])
    print(hac1.data.shape)  # (2, 2 * 3 * 16)
    ```
    """

    def __init__(
        self,
        filenames: Any,
        ks: Sequence[int],
        lags: Sequence[int] = (5, 2),
        name: str = "HACFeatureExtracter",
        *,
        mode: Mode = "learn",
        sample_rate: int | None = None,
        save_dir: PathLike | None = ".",
        load_dir: PathLike | None = None,
        seed: int = 0,
        **mfcc_params: Any,
    ) -> None:
        self.ks, self.lags = _whole_numbers("ks", ks), _whole_numbers("lags", lags)
        if len(self.ks) != 3:
            raise ValueError(
                "`ks` must hold the sizes of three codebooks: of the cepstrum, its first and its "
                f"second derivative. Received: {ks!r}"
            )
        if sample_rate is not None:
            check_positive_int(sample_rate=sample_rate)
        self.sample_rate, self.seed = sample_rate, check_seed(seed)
        self.mfcc_params = {"n_mfcc": 13, "n_fft": 2048, "hop_length": 512, "n_mels": 128}
        self.mfcc_params |= mfcc_params
        super().__init__(filenames, name, mode, save_dir=save_dir, load_dir=load_dir)

    def get_config(self) -> dict[str, Any]:
        own = {"ks": self.ks, "lags": self.lags, "sample_rate": self.sample_rate, "seed": self.seed}
        return {**super().get_config(), **own, **self.mfcc_params}

    def settings(self) -> dict[str, Any]:
        return {"ks": self.ks, "lags": self.lags, **self.mfcc_params}

    def learn_features(self, samples: Sequence[Any]) -> dict[str, Array]:
        if self.parameters is not None:
            return self.parameters
        _librosa()  # before a file is read
        rate = self.sample_rate or sound.read(samples[0])[1]
        recordings = [self._streams(path, rate) for path in samples]
        parameters = {"sample_rate": np.array(rate)}
        for s, size in enumerate(self.ks):
            frames = np.concatenate([streams[s] for streams in recordings])
            parameters[f"codebook{s}"] = acoustic_cooccurrences.make_codebook(
                frames, size, self.seed
            )
        return parameters

    def extract(self, samples: Sequence[Any], parameters: dict[str, Array]) -> Array:
        rate = int(parameters["sample_rate"])
        return np.array([self._histogram(path, rate, parameters) for path in samples])

    def check_parameters(self, parameters: dict[str, Array]) -> None:
        books = [parameters[f"codebook{s}"] for s in range(3)]
        if [len(book) for book in books] != self.ks or len({b.shape[1:] for b in books}) != 1:
            raise ValueError(f"codebooks of sizes {self.ks} were expected")
        if not all(np.isfinite(book).all() and book.ndim == 2 for book in books):
            raise ValueError("codebooks must hold finite numbers (K, D)")
        check_positive_int(sample_rate=int(parameters["sample_rate"]))

    def text_files(self, features: Array) -> dict[str, Array | str]:
        return {"hac.txt": np.asarray(features)}

    def _histogram(self, path, rate, parameters):
        """The counts of one recording, (D,)."""
        parts = []
        for s, (size, frames) in enumerate(zip(self.ks, self._streams(path, rate), strict=True)):
            codes = acoustic_cooccurrences.encode(frames, parameters[f"codebook{s}"])
            parts.append(acoustic_cooccurrences.histogram(codes, size, self.lags))
        return np.concatenate(parts)

    def _streams(self, path, rate):
        """Cepstrum and its derivatives, three arrays (T, n_mfcc)."""
        feature = _librosa().feature
        samples, rate = sound.read(path, rate)
        cepstrum = feature.mfcc(y=samples, sr=rate, **self.mfcc_params)
        # The ends are repeated outwards, so that recordings may be shorter than nine frames.
        slopes = [feature.delta(cepstrum, order=order, mode="nearest") for order in (1, 2)]
        return [stream.T for stream in (cepstrum, *slopes)]


def _whole_numbers(option, values):
    """A list of positive integers."""
    values = np.atleast_1d(np.asarray(values, dtype=object)).tolist()
    if not values or not all(is_whole(value, least=1) for value in values):
        raise ValueError(f"`{option}` must hold positive integers. Received: {values}")
    return [int(value) for value in values]


def _librosa():
    try:
        import librosa
    except ImportError as error:
        raise ImportError(
            'HACFeatureExtractor needs librosa: pip install "kserket[audio]".'
        ) from error
    return librosa
