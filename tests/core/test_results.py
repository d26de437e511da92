"""Result files: what is read is what was written, or an error."""

import json
import os

import h5py
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from kserket.core import results


@pytest.fixture(params=["model.ckpt", "parameters.h5"])
def path(request, tmp_path):
    return tmp_path / request.param


ARRAYS = {
    "kernel": np.arange(6, dtype="float32").reshape(2, 3),
    "scatter": np.linspace(0, 1, 8).reshape(2, 2, 2),
    "optimizer/0": np.array(3, "int64"),
}


def write(path, seed=0):
    arrays = ARRAYS | {"scatter": ARRAYS["scatter"] + seed}
    return results.write_parameters(path, arrays, {"module": "GMM", "settings": {"K": 3}})


def test_parameters_come_back_bit_for_bit(path):
    fingerprint = write(path)
    arrays, metadata = results.read_parameters(path)
    assert arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert_array_equal(arrays[name], array)
        assert arrays[name].dtype == array.dtype
    assert metadata["settings"] == {"K": 3} and metadata["fingerprint"] == fingerprint
    assert fingerprint == write(path) != write(path, seed=1)


def test_nothing_is_pickled_and_nothing_is_left_behind(path):
    write(path)
    for file in path.parent.iterdir():
        assert file.suffix in (".h5", ".index", ".data-00000-of-00001")
        assert b"numpy.core" not in file.read_bytes()


def test_a_missing_file_is_told(path):
    with pytest.raises(FileNotFoundError, match=path.name):
        results.read_parameters(path)


def test_a_damaged_file_is_refused(path):
    write(path)
    whole = {file: file.read_bytes() for file in path.parent.iterdir()}
    for file, content in whole.items():
        for damaged in (content[: len(content) // 2], b"", b"something else" * 100):
            file.write_bytes(damaged)
            with pytest.raises(ValueError, match="cannot be read|do not belong|not written"):
                results.read_parameters(path)
        file.write_bytes(content)
    results.read_parameters(path)


def test_parts_of_two_checkpoints_are_refused(tmp_path):
    old, new = tmp_path / "old" / "model.ckpt", tmp_path / "new" / "model.ckpt"
    for number, path in enumerate((old, new)):
        path.parent.mkdir()
        write(path, seed=number)
    os.replace(f"{old}.index", f"{new}.index")
    with pytest.raises(ValueError, match="cannot be read|do not belong"):
        results.read_parameters(new)


def test_changed_values_are_noticed(tmp_path):
    path = tmp_path / "parameters.h5"
    write(path)
    with h5py.File(path, "a") as file:
        file["kernel"][0, 0] = 99.0
    with pytest.raises(ValueError, match="do not belong together"):
        results.read_parameters(path)


@pytest.mark.parametrize("metadata", ["[]", "not json", json.dumps({"version": 1})])
def test_foreign_files_are_refused(tmp_path, metadata):
    path = tmp_path / "parameters.h5"
    with h5py.File(path, "w") as file:
        file["kernel"] = np.zeros(3)
        file.attrs["kserket"] = metadata
    with pytest.raises(ValueError, match="not written by kserket|kserket did not write it"):
        results.read_parameters(path)


def test_files_of_a_later_format_name_the_version_needed(tmp_path):
    path = tmp_path / "parameters.h5"
    with h5py.File(path, "w") as file:
        file.attrs["kserket"] = json.dumps({"format": 99, "kserket": "9.9"})
    with pytest.raises(ValueError, match=r"format 99.*9\.9"):
        results.read_parameters(path)


def test_links_out_of_the_file_are_refused(tmp_path):
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["data"] = np.arange(3)
    path = tmp_path / "parameters.h5"
    write(path)
    with h5py.File(path, "a") as file:
        file["more"] = h5py.ExternalLink(str(secret), "data")
    with pytest.raises(ValueError, match="link"):
        results.read_parameters(path)


@pytest.mark.parametrize(
    "array, rtol",
    [
        (np.random.default_rng(0).normal(size=(30, 7)) * 1e-8, 1e-11),
        (np.random.default_rng(0).random((30, 7)).astype("float32"), 1e-6),
        (np.array([[-np.inf, np.nan, 1e300]]), 1e-11),
        (np.arange(12).reshape(3, 4), 0),
        (np.arange(5), 0),
        (np.array([0.875]), 1e-11),
    ],
)
def test_text_reads_back(tmp_path, array, rtol):
    results.write_text(tmp_path / "a.txt", array)
    read = np.loadtxt(tmp_path / "a.txt", ndmin=array.ndim)
    assert_allclose(read, array, rtol=rtol)
    if array.dtype.kind == "i":
        assert "." not in (tmp_path / "a.txt").read_text()


def test_text_of_images_has_a_row_for_each(tmp_path):
    results.write_text(tmp_path / "a.txt", np.zeros((5, 4, 3, 2)))
    assert np.loadtxt(tmp_path / "a.txt").shape == (5, 24)


def test_what_fails_while_writing_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    results.write_text(path, np.ones((2, 2)))
    before = path.read_bytes()
    with pytest.raises(TypeError):
        results.write_text(path, np.array([["a", "b"]]))
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]

    parameters = tmp_path / "parameters.h5"
    write(parameters)

    def fail(*args, **kwargs):
        raise OSError("disk full")

    monkeypatch.setattr(h5py.File, "create_dataset", fail)
    with pytest.raises(OSError, match="disk full"):
        write(parameters, seed=1)
    monkeypatch.undo()
    arrays, _ = results.read_parameters(parameters)
    assert_array_equal(arrays["scatter"], ARRAYS["scatter"])
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.txt", "parameters.h5"]
