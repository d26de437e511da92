"""Samples from bags of ROS 1 and ROS 2, written here by rosbags."""

import sys

import numpy as np
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose, assert_array_equal

from kserket import bow, ros

SECOND = 1_000_000_000
WORDS = ["a red ball", "a red cup", "the green ball"]


@pytest.fixture(params=["1", "2"])
def bag(request, tmp_path):
    """Images at 0, 1, 2, ... seconds, positions at 0.5, 1.5, ..., sentences at 1.2, 3.2, 5.2."""
    pytest.importorskip("rosbags", reason="needs rosbags, the extra ros")
    return write_bag(tmp_path / ("run.bag" if request.param == "1" else "run"), request.param)


def images():
    return np.random.default_rng(0).integers(0, 256, (7, 4, 6, 3)).astype("uint8")


def write_bag(path, version):
    from rosbags.rosbag1 import Writer as Writer1
    from rosbags.rosbag2 import Writer as Writer2
    from rosbags.typesys import Stores, get_typestore

    is_first = version == "1"
    store = get_typestore(Stores.ROS1_NOETIC if is_first else Stores.ROS2_JAZZY)
    types = store.types
    write = store.serialize_ros1 if is_first else store.serialize_cdr

    def header(time):
        stamp = types["builtin_interfaces/msg/Time"](sec=time // SECOND, nanosec=time % SECOND)
        number = {"seq": 0} if is_first else {}
        return types["std_msgs/msg/Header"](stamp=stamp, frame_id="", **number)

    def image(time, pixels, encoding="rgb8", step=None, channels=3):
        rows = pixels.reshape(len(pixels), -1).view("uint8")
        step = step or rows.shape[1]
        data = np.zeros((len(rows), step), "uint8")
        data[:, : rows.shape[1]] = rows
        height, width = pixels.shape[:2]
        return types["sensor_msgs/msg/Image"](
            header(time), height, width, encoding, 0, step, data.ravel()
        )

    def odometry(time, x, y):
        pose = types["geometry_msgs/msg/Pose"](
            types["geometry_msgs/msg/Point"](x, y, 0.5),
            types["geometry_msgs/msg/Quaternion"](0.0, 0.0, 0.0, 1.0),
        )
        zero = types["geometry_msgs/msg/Vector3"](0.0, 0.0, 0.0)
        return types["nav_msgs/msg/Odometry"](
            header(time),
            "base",
            types["geometry_msgs/msg/PoseWithCovariance"](pose, np.zeros(36)),
            types["geometry_msgs/msg/TwistWithCovariance"](
                types["geometry_msgs/msg/Twist"](zero, zero), np.zeros(36)
            ),
        )

    def compressed(time, pixels):
        data = np.frombuffer(tf.io.encode_png(pixels).numpy(), "uint8")
        return types["sensor_msgs/msg/CompressedImage"](header(time), "png", data)

    def scan(time):
        ranges = np.array([1.0, np.inf, 9.0], "float32")
        part = np.zeros(0, "float32")
        return types["sensor_msgs/msg/LaserScan"](
            header(time), 0.0, 1.0, 0.5, 0.0, 0.1, 0.1, 8.0, ranges, part
        )

    def depth(time, pixels):
        return image(time, pixels, "32FC1", channels=1)

    pictures, gray = images(), np.arange(12, dtype="float32").reshape(3, 4)
    topics = {
        "/image": [(n * SECOND, image(n * SECOND, p)) for n, p in enumerate(pictures)],
        "/bgr": [(0, image(0, pictures[0][..., ::-1].copy(), "bgr8", step=20))],
        "/depth": [(0, depth(0, gray))],
        "/yuv": [(0, image(0, pictures[0], "yuv422"))],
        "/compressed": [(0, compressed(0, pictures[3]))],
        "/odom": [(t := int((n + 0.5) * SECOND), odometry(t, 1.0 * n, -1.0 * n)) for n in range(6)],
        "/speech": [
            (int((1.2 + 2 * n) * SECOND), types["std_msgs/msg/String"](text))
            for n, text in enumerate(WORDS)
        ],
        "/scan": [(0, scan(0))],
        "/level": [(n, types["std_msgs/msg/Float64"](float(n))) for n in range(3)],
        "/path": [(0, types["nav_msgs/msg/Path"](header(0), []))],
    }
    with Writer1(path) if is_first else Writer2(path, version=9) as writer:
        for topic, samples in topics.items():
            kind = samples[0][1].__msgtype__
            connection = writer.add_connection(topic, kind, typestore=store)
            for time, message in samples:
                writer.write(connection, time, write(message, kind))
    return path


def test_images(bag):
    obs = ros.ObservationImg("image", bag=bag)
    assert obs.name == "ObservationImg" and obs.data.dtype == np.uint8
    assert_array_equal(obs.data, images())
    assert_array_equal(ros.read_bag(bag, "/bgr"), images()[:1])  # its rows are longer than pixels
    assert_array_equal(ros.read_bag(bag, "/depth")[0], np.arange(12).reshape(3, 4))
    assert_array_equal(ros.read_bag(bag, "/compressed"), images()[3:4])


def test_positions_and_numbers(bag):
    obs = ros.ObservationPos("/odom", bag=bag)
    assert_array_equal(obs.data, np.arange(6)[:, None] * [1.0, -1.0])
    assert ros.read_bag(bag, "/odom").shape == (6, 3)
    assert_array_equal(ros.read_bag(bag, "/level"), [[0.0], [1.0], [2.0]])
    assert_array_equal(ros.read_bag(bag, "/scan"), [[1.0, 8.0, 8.0]])


def test_sentences_become_words(bag):
    assert ros.read_bag(bag, "/speech") == WORDS
    bow1 = bow.BoW(ros.ObservationString("/speech", bag=bag), save_dir=None)
    assert bow1.data.shape == (3, 6)


def test_topics_are_brought_together_in_time(bag):
    """At 1.2, 3.2 and 5.2 seconds the last image came at 1, 3, 5, the position at 0.5, 2.5, 4.5."""
    assert_array_equal(ros.read_bag(bag, "/image", at="/speech"), images()[[1, 3, 5]])
    positions = ros.ObservationPos("/odom", bag=bag, at="/speech")
    assert_array_equal(positions.data[:, 0], [0, 2, 4])
    early = ros.read_bag(bag, "/odom", at="/image")  # none had come with the first image
    assert np.isnan(early[0]).all()
    assert_allclose(early[1:, 0], np.arange(6))
    assert ros.read_bag(bag, "/speech", at="/odom") == [None, *np.repeat(WORDS, 2)][:6]


def test_messages_of_other_kinds_need_a_conversion(bag):
    with pytest.raises(TypeError, match="type Path.*convert="):
        ros.read_bag(bag, "/path")
    assert_array_equal(ros.read_bag(bag, "/path", lambda m: [len(m.poses)]), [[0]])
    with pytest.raises(TypeError, match="yuv422"):
        ros.read_bag(bag, "/yuv")
    heights = iter([2, 3])
    with pytest.raises(ValueError, match="/speech.*different shapes"):
        ros.read_bag(bag, "/speech", lambda m: np.zeros(next(heights, 3)))


def test_what_is_not_there_is_named(bag, tmp_path):
    with pytest.raises(KeyError, match="/sonar.*/image"):
        ros.read_bag(bag, "/sonar")
    with pytest.raises(FileNotFoundError, match="nowhere.bag"):
        ros.read_bag(tmp_path / "nowhere.bag", "/image")
    (tmp_path / "text.bag").write_text("no bag")
    with pytest.raises(ValueError, match="text.bag cannot be read"):
        ros.read_bag(tmp_path / "text.bag", "/image")


def test_the_extra_is_named_where_it_is_not_installed(monkeypatch, tmp_path):
    for name in ("rosbags", "rosbags.highlevel"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r"pip install \"kserket\[ros\]\""):
        ros.read_bag(tmp_path / "run.bag", "/image")
