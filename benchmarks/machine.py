"""What a benchmark runs on, for its first line."""

import os
import pathlib
import platform


def device():
    """The GPUs that TensorFlow computes on; without any, the processor and its cores."""
    import tensorflow as tf  # not before kserket, which keeps start-up lines away

    gpus = tf.config.list_physical_devices("GPU")
    details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
    if gpus:
        return "GPU: " + ", ".join(detail.get("device_name", "unknown") for detail in details)
    return f"processor: {_processor()}, {os.cpu_count()} cores"


def _processor():
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return next(iter(names), platform.processor() or platform.machine())


if __name__ == "__main__":
    print(device())
