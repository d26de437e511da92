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


def ramp(angle, size=12):
    """An image that gets brighter in one direction, in radians from right to down."""
    rows, columns = np.mgrid[:size, :size]
    return np.cos(angle) * columns + np.sin(angle) * rows


def share(image, **options):
    """Which share of the votes each direction gets."""
    (found,) = preprocessing.oriented_gradients(image[None], **options)
    return (found**2).sum(axis=(0, 1))


@pytest.mark.parametrize("eighth", range(8))
def test_what_rises_in_one_direction_votes_for_it(eighth):
    found = share(ramp(eighth * np.pi / 4, size=40))
    assert len(found) == 8 and found.argmax() == eighth and found.max() > 0.95


def test_between_two_directions_each_gets_half():
    found = share(ramp(np.pi / 4, size=40), num_orientations=4)
    np.testing.assert_allclose(found, [0.5, 0.5, 0.0, 0.0], atol=0.01)


def test_neither_brightness_nor_contrast_counts_for_gradients():
    images = np.stack([bar(0.3), bar(-0.3, 1.0)])
    found = preprocessing.oriented_gradients(images)
    np.testing.assert_allclose(preprocessing.oriented_gradients(5 + 3 * images), found, atol=1e-5)
    np.testing.assert_allclose((found**2).sum(axis=(1, 2, 3)), 1.0, rtol=1e-5)
    assert not preprocessing.oriented_gradients(np.full((1, 8, 8), 0.7)).any()


def test_gradients_forgive_a_move_and_not_a_turn():
    upright, moved, turned = bar(), bar(shift=1.0), bar().T
    found = preprocessing.oriented_gradients(np.stack([upright, moved, turned]))
    assert np.linalg.norm(found[0] - found[1]) < 0.5 * np.linalg.norm(found[0] - found[2])


def test_gradients_of_each_image_are_its_own_in_any_layout(monkeypatch):
    images = np.stack([bar(0.1 * number) for number in range(5)])
    expected = preprocessing.oriented_gradients(images, cell_size=5)
    assert expected.shape == (5, 4, 4, 8)
    monkeypatch.setattr(preprocessing, "_CHUNK", 2)
    for layout in (images, images[..., None], images.reshape(5, -1)):
        found = preprocessing.oriented_gradients(layout, cell_size=5)
        np.testing.assert_array_equal(found, expected)
    found = preprocessing.oriented_gradients(images, cell_size=5.0, num_orientations=8.0)
    np.testing.assert_array_equal(found, expected)
    wide = images.reshape(5, -1)[:, :420]
    found = preprocessing.oriented_gradients(wide, image_shape=(20, 21), num_orientations=3)
    assert found.shape == (5, 5, 5, 3)


@pytest.mark.parametrize(
    "images, options, message",
    [
        (np.zeros((2, 10)), {}, "image_shape"),
        (np.full((2, 4, 4), np.inf), {}, "finite"),
        (np.zeros((2, 3, 8)), {}, "3 x 8 pixels, cell_size=4"),
        (np.zeros((2, 1, 8)), {"cell_size": 1}, "two pixels at least"),
        (np.zeros((2, 8, 8)), {"cell_size": 0}, "`cell_size` must be a positive integer"),
        (np.zeros((2, 8, 8)), {"num_orientations": 2.5}, "`num_orientations` must be"),
    ],
)
def test_what_has_no_gradients_is_refused(images, options, message):
    with pytest.raises(ValueError, match=message):
        preprocessing.oriented_gradients(images, **options)


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


@pytest.mark.parametrize("channels", [1, 3])
def test_channels_that_come_first_are_refused(channels):
    with pytest.raises(ValueError, match=r"channels last.*np\.moveaxis\(images, 1, -1\)"):
        preprocessing.image_shape_of((5, channels, 28, 28))
    assert preprocessing.image_shape_of((5, 28, 28, channels)) == (28, 28, channels)
    assert preprocessing.image_shape_of((5, 3, 8, channels)) == (3, 8, channels)
    assert preprocessing.image_shape_of((5, channels, 28, 28), (channels, 28, 28))[2] == 28


@pytest.mark.parametrize("image_shape", [6, (6, 6, 1), (-6, -6), (6.0, 6.0), (6, 7), "66"])
def test_what_is_no_shape_of_images_is_refused(image_shape):
    with pytest.raises(ValueError, match=r"=\(H, W\).*, image_shape="):
        preprocessing.deskew(np.zeros((2, 36)), image_shape)
