"""Preprocessing of images."""

import numpy as np
import pytest

from kserket import preprocessing


def bar(slant=0.0, shift=0.0, size=21):
    """A vertical bar, sheared by `slant` columns a row and shifted: (size, size)."""
    rows, columns = np.mgrid[:size, :size] - (size - 1) / 2
    inside = np.abs(rows) <= size / 4
    return np.where(inside, np.clip(2.0 - np.abs(columns - slant * rows - shift), 0, 1), 0.0)


def moments(image):
    """Mean row and column, and their covariance."""
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]]
    row, column = np.average(rows, weights=image), np.average(columns, weights=image)
    return row, column, np.average((rows - row) * (columns - column), weights=image)


def test_a_slanted_bar_becomes_the_upright_one_in_the_middle():
    upright = preprocessing.deskew(bar()[None])[0]
    np.testing.assert_allclose(upright, bar(), atol=1e-6)
    for slant, shift in [(0.5, 0.0), (-0.4, 2.0), (0.0, -3.0)]:
        found = preprocessing.deskew(bar(slant, shift)[None])[0]
        row, column, covariance = moments(found)
        np.testing.assert_allclose([row, column], 10.0, atol=0.05)
        np.testing.assert_allclose(covariance, 0.0, atol=0.05)
        assert np.abs(found - bar()).mean() < 0.02
        assert np.abs(bar(slant, shift) - bar()).mean() > 0.03


def test_shape_range_and_empty_images_are_kept():
    images = np.stack([bar(0.3), np.zeros((21, 21)), bar(-0.3, 1.0)])
    expected = preprocessing.deskew(images)
    assert expected.dtype == np.float32
    assert expected.min() >= 0 and expected.max() <= 1 and not expected[1].any()
    flat = preprocessing.deskew(images.reshape(3, -1))
    np.testing.assert_array_equal(flat, expected.reshape(3, -1))
    channel = preprocessing.deskew(images[..., None])
    np.testing.assert_array_equal(channel, expected[..., None])
    wide = np.pad(images, [(0, 0), (0, 0), (3, 4)])
    np.testing.assert_array_equal(
        preprocessing.deskew(wide.reshape(3, -1), image_shape=(21, 28)),
        preprocessing.deskew(wide).reshape(3, -1),
    )


def test_each_image_is_its_own():
    images = np.stack([bar(0.3), bar(-0.3, 1.0)])
    np.testing.assert_array_equal(
        preprocessing.deskew(images)[1], preprocessing.deskew(images[1:])[0]
    )


@pytest.mark.parametrize(
    "images, message",
    [
        (np.zeros((2, 10)), "image_shape"),
        (np.zeros((2, 4, 4, 3)), "image_shape"),
        (-np.ones((2, 4, 4)), "not negative"),
        (np.full((2, 4, 4), np.nan), "finite"),
    ],
)
def test_what_are_no_images_is_refused(images, message):
    with pytest.raises(ValueError, match=message):
        preprocessing.deskew(images)
