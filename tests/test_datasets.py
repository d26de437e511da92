import io
import zipfile

import keras
import numpy as np
import pytest

from kserket import datasets


def test_digits_are_scaled_and_complete():
    x, y = datasets.load_digits()
    assert x.shape == (1797, 64) and x.dtype == np.float32
    assert (x.min(), x.max()) == (0, 1)
    assert y.shape == (1797,) and set(y.tolist()) == set(range(10))


@pytest.fixture
def mnist_file(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {
        "x_train": rng.integers(256, size=(6, 28, 28), dtype="uint8"),
        "y_train": np.arange(6, dtype="uint8"),
        "x_test": np.full((2, 28, 28), 255, dtype="uint8"),
        "y_test": np.array([7, 8], dtype="uint8"),
    }
    np.savez(tmp_path / "mnist.npz", **arrays)
    return tmp_path / "mnist.npz", arrays


def test_mnist_from_a_path(mnist_file):
    path, arrays = mnist_file
    (x_train, y_train), (x_test, y_test) = datasets.load_mnist(path)
    assert x_train.shape == (6, 784) and x_train.dtype == x_test.dtype == np.float32
    np.testing.assert_allclose(x_train, arrays["x_train"].reshape(6, 784) / 255, rtol=1e-6)
    np.testing.assert_array_equal(x_test, np.ones((2, 784)))
    assert y_train.tolist() == list(range(6)) and y_test.tolist() == [7, 8]
    assert datasets.load_mnist(path, flatten=False)[0][0].shape == (6, 28, 28)


def test_mnist_from_the_environment(mnist_file, monkeypatch):
    monkeypatch.setenv("KSERKET_MNIST", str(mnist_file[0]))
    assert datasets.load_mnist()[1][1].tolist() == [7, 8]


def test_mnist_offline_says_what_to_do(monkeypatch):
    def unreachable():
        raise Exception("URL fetch failure: no route to host")

    monkeypatch.delenv("KSERKET_MNIST", raising=False)
    monkeypatch.setattr(keras.datasets.mnist, "load_data", unreachable)
    with pytest.raises(FileNotFoundError, match=r"(?s)KSERKET_MNIST.*no route to host"):
        datasets.load_mnist()


def test_mnist_refuses_what_is_not_mnist(tmp_path, mnist_file):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.npz"):
        datasets.load_mnist(tmp_path / "nowhere.npz")
    np.savez(tmp_path / "other.npz", x_train=np.zeros(3))
    with pytest.raises(ValueError, match=r"other\.npz does not hold y_train, x_test, y_test"):
        datasets.load_mnist(tmp_path / "other.npz")
    flat = {**mnist_file[1], "x_test": np.zeros((2, 784))}
    np.savez(tmp_path / "flat.npz", **flat)
    with pytest.raises(ValueError, match=r"whole numbers.*float64 \(2, 784\)"):
        datasets.load_mnist(tmp_path / "flat.npz")


def test_damaged_and_pickled_archives_are_refused(tmp_path, mnist_file):
    whole = mnist_file[0].read_bytes()
    objects = io.BytesIO()
    np.save(objects, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with zipfile.ZipFile(tmp_path / "objects.npz", "w") as archive:
        for name in ("images", "labels"):
            archive.writestr(f"{name}.npy", objects.getvalue())
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.npz").write_text("not an archive")
    (tmp_path / "empty.npz").write_bytes(b"")
    np.save(tmp_path / "single.npy", np.zeros(3))
    for name in ("objects.npz", "cut.npz", "text.npz", "empty.npz", "single.npy"):
        with pytest.raises(ValueError, match=f"{name} is not an .npz archive of plain arrays"):
            datasets.load_serket_tutorial(tmp_path / name)


@pytest.mark.parametrize("spherical", [True, False])
def test_mixture_is_as_described(spherical):
    data = datasets.make_mixture(20_000, 3, 2, separation=5.0, seed=0, spherical=spherical)
    assert data.x.shape == (20_000, 2) and data.y.shape == (20_000,)
    gaps = np.linalg.norm(data.means[:, None] - data.means[None], axis=-1)
    assert gaps[np.triu_indices(3, 1)].min() == pytest.approx(5.0)
    np.testing.assert_allclose(np.trace(data.covariances, axis1=1, axis2=2), 2)
    assert spherical == np.allclose(data.covariances, np.eye(2))
    for k in range(3):
        own = data.x[data.y == k]
        np.testing.assert_allclose(own.mean(axis=0), data.means[k], atol=0.05)
        np.testing.assert_allclose(np.cov(own.T), data.covariances[k], atol=0.08)
    np.testing.assert_allclose(data.responsibilities.sum(axis=1), 1)
    # A posterior is calibrated: its mean certainty is the share of right guesses.
    certainty = data.responsibilities.max(axis=1).mean()
    accuracy = np.mean(data.responsibilities.argmax(axis=1) == data.y)
    assert accuracy == pytest.approx(certainty, abs=0.005)
    assert 0.95 < accuracy < 1


def test_mixture_follows_its_seed_and_weights():
    same = [datasets.make_mixture(50, seed=3).x for _ in range(2)]
    np.testing.assert_array_equal(*same)
    assert not np.array_equal(same[0], datasets.make_mixture(50, seed=4).x)
    data = datasets.make_mixture(4000, 2, mixing_weights=[0.9, 0.1], separation=0.0, seed=0)
    assert np.mean(data.y == 0) == pytest.approx(0.9, abs=0.02)
    data = datasets.make_mixture(100, 2, mixing_weights=[1.0, 0.0], seed=0)
    np.testing.assert_array_equal(data.responsibilities, np.tile([1.0, 0.0], (100, 1)))
    assert datasets.make_mixture(5, 1, 1, seed=0).x.shape == (5, 1)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"num_components": 0}, "`num_components` must be a positive integer. Received: 0"),
        ({"separation": -1}, "`separation` .* Received: -1"),
        ({"separation": np.inf}, "`separation` .* Received: inf"),
        ({"mixing_weights": [np.nan] * 3}, "3 probabilities"),
        ({"num_components": 2, "mixing_weights": [0.5, 0.6]}, "2 probabilities that sum to 1"),
        ({"num_components": 2, "mixing_weights": [1.0]}, "2 probabilities"),
    ],
)
def test_mixture_refuses_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        datasets.make_mixture(**options)


def test_tutorial_from_an_archive(tmp_path):
    images = np.array([[0, 255], [51, 102], [255, 0]], dtype="uint8")
    speech = np.array([[3, 0, 44], [1, 1, 0], [0, 2, 0]], dtype="uint8")
    np.savez(tmp_path / "t.npz", images=images, speech=speech, labels=np.array([0, 1, 2], "uint8"))
    data = datasets.load_serket_tutorial(tmp_path / "t.npz")
    np.testing.assert_allclose(data.images, images / 255, rtol=1e-6)
    np.testing.assert_array_equal(data.speech, speech)
    assert data.images.dtype == data.speech.dtype == np.float32
    assert data.labels.tolist() == [0, 1, 2]


def test_tutorial_from_the_text_files(tmp_path):
    images, speech = [[0, 128, 255], [1, 2, 3]], [[4.0, 0.0], [0.0, 7.0]]
    np.savetxt(tmp_path / "data1.txt", images)
    np.savetxt(tmp_path / "data2.txt", speech)
    np.savetxt(tmp_path / "category.txt", [5.0, 6.0])
    data = datasets.load_serket_tutorial(tmp_path)
    np.testing.assert_allclose(data.images, np.array(images) / 255, rtol=1e-6)
    np.testing.assert_array_equal(data.speech, speech)
    assert data.labels.tolist() == [5, 6]


def test_tutorial_with_images_only_keeps_fractions(tmp_path):
    np.savetxt(tmp_path / "data.txt", [[0.0, 0.5], [1.0, 0.25]])
    np.savetxt(tmp_path / "category.txt", [0, 1], fmt="%d")
    data = datasets.load_serket_tutorial(tmp_path)
    assert data.speech is None
    np.testing.assert_array_equal(data.images, [[0.0, 0.5], [1.0, 0.25]])


def test_tutorial_refuses_incomplete_folders_and_tables(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no data\.txt"):
        datasets.load_serket_tutorial(tmp_path)
    np.savetxt(tmp_path / "data.txt", np.zeros((3, 2)))
    np.savetxt(tmp_path / "category.txt", [0, 1])
    with pytest.raises(ValueError, match=r"`images`.*images \(3, 2\), speech None, labels \(2,\)"):
        datasets.load_serket_tutorial(tmp_path)
    (tmp_path / "data.txt").write_text("1 2\n3\n")
    with pytest.raises(ValueError, match=r"data\.txt is not a table of numbers"):
        datasets.load_serket_tutorial(tmp_path)
    with pytest.raises(FileNotFoundError, match="missing"):
        datasets.load_serket_tutorial(tmp_path / "missing.npz")


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"images": [[0.5, np.nan]]}, "`images` must be finite numbers"),
        ({"speech": [["a", "b"]]}, "`speech` must be finite numbers"),
        ({"labels": [np.nan]}, "`labels` must be finite numbers"),
        ({"labels": ["one"]}, "`labels` must be finite numbers"),
        ({"labels": [0.5]}, "`labels` must be whole numbers"),
        ({"labels": 3}, r"`images` must have .* labels \(\)"),
    ],
)
def test_tutorial_refuses_what_are_no_numbers(tmp_path, changed, message):
    parts = {"images": [[0.5, 1.0]], "speech": [[1.0, 2.0]], "labels": [1], **changed}
    np.savez(tmp_path / "data.npz", **parts)
    with pytest.raises(ValueError, match=message):
        datasets.load_serket_tutorial(tmp_path / "data.npz")


@pytest.mark.parametrize("load", [datasets.load_mnist, datasets.load_serket_tutorial])
@pytest.mark.parametrize("wrong", [5, False, ["a"]], ids=str)
def test_what_is_no_path_is_refused_by_name(load, wrong):
    with pytest.raises(TypeError, match="`path` must be a path"):
        load(wrong)
