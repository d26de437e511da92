"""`arrays`: numbers come in whole, or an error names them and the cure."""

import datetime

import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf
from scipy import sparse

import kserket
from kserket.arrays import as_numbers, check_finite, check_unmasked

X = np.arange(6.0).reshape(3, 2)
MASKED = np.ma.array(X, mask=[[0, 0], [0, 1], [0, 0]])
DATES = np.array([["2020-01-01", "2020-01-02"]] * 3, "datetime64[D]")


class Frame:
    """As much of a DataFrame as is asked for."""

    def __init__(self, **columns):
        self.columns, self._values = list(columns), list(columns.values())

    @property
    def dtypes(self):
        return [np.asarray(values).dtype for values in self._values]

    def __array__(self, dtype=None, copy=None):
        return np.array([list(row) for row in zip(*self._values, strict=True)], object)

    def to_numpy(self, dtype, na_value):
        return np.array(self._values, dtype).T


BAD = {
    "masked": (MASKED, ValueError, "masked array with 1 masked values, the first in row 1.*Impute"),
    "masked in a list": (list(MASKED), ValueError, "masked"),
    "complex": (X * 1j, TypeError, r"complex128.*np\.real"),
    "text": (X.astype(str), TypeError, r"text such as .*0\.0.*np\.asarray"),
    "bytes": (X.astype("S3"), TypeError, "text"),
    "dates": (DATES, TypeError, r"datetime64.*timedelta64"),
    "durations": (DATES - DATES[0, 0], TypeError, r"timedelta64\[D\]"),
    "None": (None, TypeError, "Received: None"),
    "None inside": ([[1.0, None]], TypeError, "None at row 0, column 1"),
    "objects": ([[1.0, 2.0], [3.0, object]], TypeError, "row 1, column 1"),
    "date objects": ([[datetime.date(2020, 1, 1)]], TypeError, "date.* at row 0, column 0"),
    "columns": (
        Frame(a=[1.0], b=["x"], c=["y"]),
        TypeError,
        r"columns 'b' \(<U1\), 'c' \(<U1\)\. .*'Discrete columns'",
    ),
    "ragged": ([[1.0], [1.0, 2.0]], ValueError, "ragged"),
    "sparse": (sparse.csr_array(X), TypeError, r"sparse matrix.*toarray"),
    "dict": ({"x": X}, TypeError, "Received: dict"),
    "generator": (iter(X), TypeError, "Received: generator|Received: .*iterator"),
    "dataset": (tf.data.Dataset.from_tensors(X), TypeError, "Received: _TensorDataset"),
    "path": ("x.npy", TypeError, "Received: 'x.npy'"),
    "structure": (np.zeros(3, [("a", "f4")]), TypeError, "structured_to_unstructured"),
}


def test_dates_in_a_frame_become_days():
    pandas = pytest.importorskip("pandas")
    dates = pandas.to_datetime(pandas.Series(["2020-01-01", "2020-01-03"]))
    frame = pandas.DataFrame({"day": dates, "for": dates - dates.min(), "x": [1.0, 2.0]})
    for part, cures in ((frame, 2), (frame[["day"]], 1), (frame[["for"]], 1), (dates, 1)):
        with pytest.raises(TypeError, match=r"Timedelta\(days=1\)") as caught:
            as_numbers(part, "`x`")
        text = str(caught.value)
        assert text.count("Timedelta") == cures and "get_dummies" not in text
    frame["color"] = ["red", "blue"]
    with pytest.raises(TypeError, match="'day'.*'color'.*get_dummies.*Timedelta.*Timedelta"):
        as_numbers(frame, "`x`")


@pytest.mark.parametrize("kind", BAD)
def test_what_is_no_number_is_refused_by_name(kind):
    values, error, text = BAD[kind]
    with pytest.raises(error, match=f"^`x` (?s:.*){text}"):
        as_numbers(values, "`x`")


@pytest.mark.parametrize(
    "values",
    [X.tolist(), X.astype(int), X > 1, X.astype("uint8"), X.astype("float16"), X[::-1].T]
    + [X.astype(">f8"), X.astype(ml_dtypes.bfloat16), tf.constant(X), np.ma.array(X), memoryview(X)]
    + [tuple(map(tuple, X)), Frame(a=[0.0, 2], b=[True, False])],
    ids=lambda values: type(values).__name__ + str(getattr(values, "dtype", "")),
)
def test_numbers_of_every_type_stay_what_they_are(values):
    expected = values._values if isinstance(values, Frame) else values
    expected = np.asarray(expected).T if isinstance(values, Frame) else np.asarray(expected)
    got = as_numbers(values, "`x`")
    assert type(got) is np.ndarray and got.dtype.kind in "fiub"
    np.testing.assert_array_equal(got, expected.astype(got.dtype))


def test_a_memory_map_stays_one(tmp_path):
    np.save(tmp_path / "x.npy", X)
    held = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert as_numbers(held, "`x`") is held


def test_masked_rows_become_nan_where_rows_may_be_missing():
    rows = np.ma.array(X, mask=[[0, 0], [1, 1], [0, 0]])
    got = as_numbers(rows, "`x`", allow_missing=True)
    np.testing.assert_array_equal(got, np.where(rows.mask, np.nan, X))
    with pytest.raises(ValueError, match="allow_missing=True if whole rows are masked"):
        as_numbers(rows, "`x`", allow_missing=False)
    with pytest.raises(ValueError, match="1 masked"):
        as_numbers(MASKED, "`x`", allow_missing=True)
    with pytest.raises(TypeError, match="complex"):
        as_numbers(rows * 1j, "`x`", allow_missing=True)


def test_finite_or_named():
    check_finite(X, "`x`")
    for wrong, place in (((1, 1), "row 1, column 1"), (1, "row 1, column 0")):
        values = X.copy()
        values[wrong] = np.nan
        with pytest.raises(ValueError, match=f"^`x` holds .* first at {place}"):
            check_finite(values, "`x`")
    check_finite(values, "`x`", allow_missing=True)  # a whole row
    with pytest.raises(ValueError, match=r"first at row 2\."):
        check_finite(np.array([1.0, 2.0, np.inf]), "`x`")


def test_labels_of_any_type_may_not_be_masked():
    check_unmasked(["a", "b"], "`labels`")
    with pytest.raises(ValueError, match="^`labels` is a masked array"):
        check_unmasked(np.ma.array(["a", "b"], mask=[0, 1]), "`labels`")


PROBS = np.full((3, 2), 0.5)
DOORS = {  # name of what is given, and a call that gives it
    "A Categorical message": kserket.Categorical,
    "A Categorical message ": kserket.Categorical.from_log,
    "The mean of a Gaussian message": kserket.Gaussian,
    "The variance of a Gaussian message": lambda x: kserket.Gaussian(X, x),
    "The responsibilities of a Mixture": lambda x: kserket.Mixture(x, np.eye(2), [np.eye(2)] * 2),
    "The means of a Mixture": lambda x: kserket.Mixture(PROBS, x, [np.eye(2)] * 2),
    "GaussianMixture": lambda x: kserket.GaussianMixture(2).fit(x),
    "`variance`": lambda x: kserket.GaussianMixture(2).fit({"x": X, "variance": x}),
    "`class_prior`": lambda x: kserket.GaussianMixture(2).fit({"x": X, "class_prior": x}),
    "`sample_weight`": lambda x: kserket.GaussianMixture(2).fit(X, sample_weight=x),
    "x of MarkovChain": lambda x: kserket.MarkovChain(2).fit(x),
    "Modality 0 of lda": lambda x: kserket.MultimodalLDA(2, name="lda").fit([x, X]),
    "obs": kserket.Observation,
    "`images`": lambda x: kserket.preprocessing.deskew(x, (1, 2)),
    "`images` ": lambda x: kserket.preprocessing.oriented_gradients(x, (1, 2)),
    "`z`": kserket.plotting.plot_latent,
    "`x`": lambda x: kserket.plotting.plot_reconstructions(x, X),
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("kind", ["masked", "complex", "text", "dates", "None inside", "columns"])
def test_every_door_asks(door, kind):
    values, error, _ = BAD[kind]
    with pytest.raises(error, match=f"^{door.strip()}"):
        DOORS[door](values)


@pytest.mark.parametrize(
    "make, text",
    [
        (lambda: kserket.Gaussian([[np.nan, 0.0]]), "mean of a Gaussian message holds 1 value"),
        (lambda: kserket.Gaussian(X, np.full((3, 2), np.nan)), "must be positive"),
        (lambda: kserket.Mixture(-PROBS, X[:2], [np.eye(2)] * 2), "responsibilities"),
        (lambda: kserket.Mixture(PROBS, X[:2] * np.nan, [np.eye(2)] * 2), "means .* not finite"),
        (lambda: kserket.Mixture(PROBS, X[:2], np.full((2, 2, 2), np.inf)), "covariances .*finite"),
        (lambda: kserket.Categorical(PROBS, ["a", "b", "c"]), "`missing`"),
        (lambda: kserket.Categorical(PROBS, [0, 1, 2]), "`missing`.*True or False"),
        (lambda: kserket.MarkovChain(3).fit(np.arange(9) % 3), r"pass np\.eye\(3\)\[classes\]"),
        (lambda: kserket.MarkovChain(3).fit(np.ones((9, 1))), r"np\.eye\(3\)\[classes\[:, 0\]\]"),
        (lambda: kserket.MultimodalLDA(2).fit([[1, 2], [3, 4]]), r"np\.array\(rows\)"),
    ],
)
def test_values_that_mean_nothing_are_refused(make, text):
    with pytest.raises((TypeError, ValueError), match=text):
        make()


@pytest.mark.parametrize("dtype", ["int8", "uint8", "uint16", "uint32", "uint64", "float32"])
def test_lengths_of_any_type_of_whole_numbers(dtype):
    x = np.eye(3)[np.arange(12) % 3] * 0.7 + 0.1
    expected = kserket.MarkovChain(3, seed=0).fit(x, lengths=[4, 8], epochs=2).history
    lengths = np.array([4, 8], dtype)
    model = kserket.MarkovChain(3, seed=0)
    assert model.fit(x, lengths=lengths, epochs=2).history == expected
    assert len(model.predict(x, lengths=lengths)) == 12
    for wrong in ([4.5, 7.5], [[4, 8]], [4, 0, 8], []):
        with pytest.raises(ValueError, match="`lengths` must be a list of positive integers"):
            model.predict(x, lengths=wrong)


def test_scores_do_not_read_through_masks():
    masked = np.ma.array([0, 1, 1], mask=[1, 0, 0])
    for true, predicted, name in ((masked, [0, 1, 1], "y_true"), ([0, 1, 1], masked, "y_pred")):
        with pytest.raises(ValueError, match=f"^`{name}` is a masked array"):
            kserket.metrics.clustering_accuracy(true, predicted)


@pytest.mark.parametrize(
    "options, error, text",
    [
        ({"num_samples": "a"}, ValueError, "`num_samples` must be a positive integer"),
        ({"num_samples": 10.5}, ValueError, "`num_samples`"),
        ({"separation": "a"}, ValueError, "`separation` must be a number >= 0"),
        ({"mixing_weights": "a"}, TypeError, "`mixing_weights` needs numbers"),
        ({"seed": "a"}, ValueError, "`seed` must be an integer"),
        ({"spherical": "False"}, ValueError, "`spherical` must be True or False"),
    ],
)
def test_data_sets_check_their_options(options, error, text):
    with pytest.raises(error, match=text):
        kserket.datasets.make_mixture(**options)
