"""Samples from bags, the files in which ROS records messages.

Bags of ROS 1 (`.bag`) and ROS 2 (a folder, or an `.mcap` or `.db3` file in it) are read by
`rosbags`, without ROS: `pip install "kserket[ros]"`.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from kserket.core.observation import Observation
from kserket.core.options import check_path
from kserket.typing import Array, PathLike

_COLORS = {  # of an encoding: numpy type, number of channels, which channel becomes which
    "mono8": ("u1", 1, None),
    "8UC1": ("u1", 1, None),
    "mono16": ("u2", 1, None),
    "16UC1": ("u2", 1, None),
    "32FC1": ("f4", 1, None),
    "rgb8": ("u1", 3, None),
    "8UC3": ("u1", 3, None),
    "bgr8": ("u1", 3, [2, 1, 0]),
    "rgba8": ("u1", 4, [0, 1, 2]),
    "bgra8": ("u1", 4, [2, 1, 0]),
}


def read_bag(
    bag: PathLike,
    topic: str,
    convert: Callable[[Any], Any] | None = None,
    *,
    at: str | None = None,
) -> Any:
    """The messages of a topic as samples, in the order of time.

    | type of message | becomes |
    |---|---|
    | `sensor_msgs/Image` | array (height, width, 3), or (height, width) where it is gray |
    | `sensor_msgs/CompressedImage` | array (height, width, 3) |
    | `nav_msgs/Odometry`, `geometry_msgs/PoseStamped`, `Pose`, `PointStamped`, `Point` | x, y, z |
    | `sensor_msgs/LaserScan` | its ranges; what was out of range is `range_max` |
    | `sensor_msgs/JointState` | its positions |
    | `std_msgs/String` | a string |
    | other messages of `std_msgs` | their number or numbers |

    Args:
        bag: Path of the bag.
        topic: Name of the topic, such as "/odom".
        convert: Function from a message to an array or a string, for other types, or instead of
            what stands above.
        at: Another topic: at each of its messages, the last one of `topic` until then is a sample,
            so that several topics give rows that belong together. Where there is none yet, the
            sample is missing. By default each message of `topic` is a sample.

    Returns:
        Array (N, ...), missing rows NaN; of strings a list, None where missing.

    Raises:
        FileNotFoundError: If there is no such bag.
        ImportError: If `rosbags` is not installed.
        KeyError: If the bag has no such topic.
        TypeError: If the type of message is none of these, and `convert` is not given.
        ValueError: If the bag cannot be read, or messages have different shapes.

    Example:

    ```text
    positions = ros.read_bag("run.bag", "/odom", at="/speech")
    words = bow.BoW(ros.read_bag("run.bag", "/speech"))
    ```
    """
    check_path(bag=bag)
    convert = _converted if convert is None else convert
    names = [topic] if at is None else [topic, at]
    samples: list[Any] = []
    last = None
    for name, message in _messages(bag, names):
        if name == topic:
            last = message
        if name == (topic if at is None else at):
            samples.append(last)
    if all(one is None for one in samples):
        raise ValueError(f"{os.fspath(bag)} holds no message of {topic} before one of {names[-1]}.")
    return _stacked([None if one is None else convert(one) for one in samples], topic)


def ObservationImg(
    topic_name: str,
    name: str = "ObservationImg",
    timeout: float = -1,
    *,
    bag: PathLike,
    at: str | None = None,
) -> Observation:
    """Serket's `serket_ros.ObservationImg`: images as an observation, here of a bag.

    Args:
        topic_name: Name of the topic.
        name: Name of the observation.
        timeout: Not used: all messages are there.
        bag: Path of the bag.
        at: As in `read_bag`.

    Returns:
        An `Observation` (N, height, width, 3), or (N, height, width).
    """
    return Observation(read_bag(bag, topic_name, at=at), name, allow_missing=True)


def ObservationPos(
    topic_name: str,
    name: str = "ObservationPos",
    timeout: float = -1,
    *,
    bag: PathLike,
    at: str | None = None,
) -> Observation:
    """Serket's `serket_ros.ObservationPos`: where a robot is in the plane, here from a bag.

    Args:
        topic_name: Name of a topic of positions, such as "/odom".
        name: Name of the observation.
        timeout: Not used: all messages are there.
        bag: Path of the bag.
        at: As in `read_bag`.

    Returns:
        An `Observation` (N, 2), x and y.
    """
    positions = read_bag(bag, topic_name, at=at)
    return Observation(positions[:, :2], name, allow_missing=True)


def ObservationString(
    topic_name: str,
    name: str = "ObservationString",
    timeout: float = -1,
    *,
    bag: PathLike,
    at: str | None = None,
) -> list[str | None]:
    """Serket's `serket_ros.ObservationString`: sentences for a `bow.BoW`, here from a bag.

    Messages of a graph are numbers, so that what Serket connects to a `BoW` is given to it.

    Args:
        topic_name: Name of a topic of strings.
        name: Not used.
        timeout: Not used.
        bag: Path of the bag.
        at: As in `read_bag`.

    Returns:
        List of N strings: `bow.BoW(ObservationString(...))`.
    """
    return read_bag(bag, topic_name, at=at)


def _messages(bag, topics) -> Iterator[tuple[str, Any]]:
    """Pairs of topic and message, in the order of time."""
    try:
        from rosbags.highlevel import AnyReader, AnyReaderError
        from rosbags.typesys import Stores, get_typestore
    except ImportError as error:
        raise ImportError('Bags are read by rosbags: pip install "kserket[ros]".') from error
    path = pathlib.Path(bag)
    if not path.exists():
        raise FileNotFoundError(f"There is no bag {path}.")
    with contextlib.ExitStack() as stack:
        try:
            store = get_typestore(Stores.ROS2_JAZZY)  # of bags that do not define their types
            reader = stack.enter_context(AnyReader([path], default_typestore=store))
        except AnyReaderError as error:
            raise ValueError(f"{path} cannot be read as a bag: {error}") from error
        wanted = {_absolute(topic): topic for topic in topics}
        found = {_absolute(one.topic) for one in reader.connections}
        absent = [topic for key, topic in wanted.items() if key not in found]
        if absent:
            raise KeyError(f"{path} has no topic {absent[0]}. It has {sorted(found)}")
        chosen = [one for one in reader.connections if _absolute(one.topic) in wanted]
        for connection, _, raw in reader.messages(chosen):
            message = reader.deserialize(raw, connection.msgtype)
            yield wanted[_absolute(connection.topic)], message


def _absolute(topic):
    return "/" + topic.strip("/")


def _converted(message) -> Any:
    """A message as an array or a string."""
    kind = str(getattr(message, "__msgtype__", type(message).__name__)).rpartition("/")[2]
    if kind in _KINDS:
        return _KINDS[kind](message)
    if hasattr(message, "data"):
        data = message.data
        return data if isinstance(data, str) else np.atleast_1d(np.asarray(data))
    raise TypeError(
        f"Messages of type {kind} have no conversion. Give convert=, a function from a message to "
        "an array."
    )


def _image(message):
    """An image as an array."""
    if message.encoding not in _COLORS:
        raise TypeError(
            f"Images of encoding {message.encoding!r} have no conversion, only "
            f"{list(_COLORS)}. Give convert=."
        )
    kind, channels, order = _COLORS[message.encoding]
    kind = np.dtype(kind).newbyteorder(">" if message.is_bigendian else "<")
    rows = np.frombuffer(np.asarray(message.data, "u1").tobytes(), "u1")
    rows = rows.reshape(message.height, message.step)  # a row may be longer than its pixels
    used = np.ascontiguousarray(rows[:, : message.width * channels * kind.itemsize])
    pixels = used.view(kind).reshape(message.height, message.width, channels)
    pixels = pixels.astype(kind.newbyteorder("="))
    if order is not None:
        pixels = pixels[..., order]
    return pixels[..., 0] if channels == 1 else pixels


def _compressed_image(message):
    import tensorflow as tf

    content = np.asarray(message.data, "u1").tobytes()
    return tf.io.decode_image(content, 3, expand_animations=False).numpy()


def _point(point):
    return np.array([point.x, point.y, point.z])


def _ranges(scan):
    ranges = np.asarray(scan.ranges, "float64")
    return np.where(np.isfinite(ranges), np.minimum(ranges, scan.range_max), scan.range_max)


_KINDS: dict[str, Callable[[Any], Any]] = {
    "Image": _image,
    "CompressedImage": _compressed_image,
    "Odometry": lambda message: _point(message.pose.pose.position),
    "PoseWithCovarianceStamped": lambda message: _point(message.pose.pose.position),
    "PoseStamped": lambda message: _point(message.pose.position),
    "Pose": lambda message: _point(message.position),
    "PointStamped": lambda message: _point(message.point),
    "Point": _point,
    "LaserScan": _ranges,
    "JointState": lambda message: np.asarray(message.position),
}


def _stacked(samples, topic) -> Array | list[str | None]:
    """Samples as an array (N, ...), missing rows NaN; strings as a list."""
    seen = [one for one in samples if one is not None]
    if all(isinstance(one, str) for one in seen):
        return samples
    shapes = {np.shape(one) for one in seen}
    if len(shapes) > 1:
        raise ValueError(
            f"Messages of {topic} have different shapes: {sorted(shapes)[:5]}. Give convert=, a "
            "function from a message to an array of one shape."
        )
    if len(seen) == len(samples):
        return np.stack(samples)
    rows = np.full((len(samples), *shapes.pop()), np.nan)
    rows[[one is not None for one in samples]] = seen
    return rows
