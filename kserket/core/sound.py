"""WAV files as arrays."""

import math
import os
import warnings

import numpy as np
from scipy.io import wavfile
from scipy.signal import resample_poly

from kserket.typing import Floats, PathLike


def read(path: PathLike, sample_rate: int | None = None) -> tuple[Floats, int]:
    """A recording as one channel.

    Args:
        path: Path of a WAV file. Several channels are averaged.
        sample_rate: Samples a second to resample it to; None keeps its own.

    Returns:
        `(samples, sample_rate)`: floats (T,) of at most 1 for files of integers.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no WAV file, or holds nothing.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(f"There is no recording {os.fspath(path)}.")
    try:
        with warnings.catch_warnings():  # of chunks that hold no sound
            warnings.simplefilter("ignore", wavfile.WavFileWarning)
            rate, samples = wavfile.read(path)
    except Exception as error:  # whatever it trips over in foreign bytes
        raise ValueError(
            f"{os.fspath(path)} cannot be read as a WAV file: {error}. Convert it first: "
            "`ffmpeg -i in.mp3 out.wav`."
        ) from error
    if len(samples) == 0:
        raise ValueError(f"{os.fspath(path)} holds no sound.")
    if samples.dtype.kind in "iu":
        limits = np.iinfo(samples.dtype)
        center = 128 if samples.dtype == np.uint8 else 0  # 8 bits have no sign
        samples = (samples.astype("float64") - center) / (limits.max - center + 1)
    samples = samples.astype("float64").reshape(len(samples), -1).mean(axis=1)
    if not np.isfinite(samples).all():
        raise ValueError(f"{os.fspath(path)} holds values that are not finite.")
    if sample_rate is None or sample_rate == rate:
        return samples, int(rate)
    divisor = math.gcd(sample_rate, rate)
    return resample_poly(samples, sample_rate // divisor, rate // divisor), sample_rate
