"""Odd forms of data, by program: what an array of a door's own becomes in a stranger's hands.

A kind of `SAME` holds the numbers of the array in another form, so that the outcome is that of a
float64 array, or a refusal. A kind of `OTHER` holds other numbers, which only some doors may take.
A kind of `WRONG` is never data.
"""

import array
import datetime
import decimal
import importlib
import itertools
import sys
import warnings

import h5py
import numpy as np
import scipy.sparse
import tensorflow as tf


class OnlyArray:
    """What has nothing but `__array__`."""

    def __init__(self, values):
        self.values = values

    def __array__(self, dtype=None, copy=None):
        return np.array(self.values, dtype)


def optional(name):
    """A module, or None where it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


NUMBERS = itertools.count()
pandas, polars, torch = optional("pandas"), optional("polars"), optional("torch")


def strided(x):
    """The array as every second row and column of a larger one."""
    wide = np.full([2 * size for size in x.shape], 7.0)
    view = wide[tuple(slice(None, None, 2) for _ in x.shape)]
    view[...] = x
    return view


def backwards(x):
    return np.ascontiguousarray(x[::-1])[::-1]


def read_only(x):
    x = x.copy()
    x.flags.writeable = False
    return x


def memory_map(x):
    np.save("mapped.npy", x)
    return np.load("mapped.npy", mmap_mode="r")


def hdf5(x):
    name = f"{next(NUMBERS)}.h5"  # a file may still be open when the next is written
    return h5py.File(name, "w").create_dataset("x", data=x)


def closed_hdf5(x):
    dataset = hdf5(x)
    dataset.file.close()
    return dataset


def hdf5_group(x):
    return hdf5(x).parent


def frame(x, **options):
    return pandas.DataFrame(x.reshape(len(x), -1), **options)


def polars_frame(x):
    rows = x.reshape(len(x), -1)
    return polars.DataFrame({f"c{index}": column for index, column in enumerate(rows.T)})


def spoiled(value, where=0):
    """A kind that puts `value` into one place."""

    def put(x):
        x = x.copy()
        x.flat[where] = value
        return x

    return put


def objects(value):
    """A kind that is of dtype object and holds `value` in one place."""

    def put(x):
        x = x.astype(object)
        x.flat[0] = value
        return x

    return put


def rows_of(value):
    def put(x):
        x = x.copy()
        x[0] = value
        return x

    return put


def masked(x):
    mask = np.zeros(x.shape, bool)
    mask[0] = True
    under = x.copy()
    under[0] = 1e6
    return np.ma.array(under, mask=mask)


def masked_cell(x):
    mask = np.zeros(x.shape, bool)
    mask.flat[0] = True
    return np.ma.array(x, mask=mask)


def ragged(x):
    rows = x.tolist()
    return [*rows[:-1], rows[-1][:-1] if isinstance(rows[-1], list) else [rows[-1]]]


def ragged_objects(x):
    rows = np.empty(len(x), object)
    rows[:] = ragged(x)
    return rows


def cast(dtype):
    """A kind of another dtype."""
    return lambda x: x.astype(dtype)


def matrix(x):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PendingDeprecationWarning)  # of NumPy about its own class
        return np.asmatrix(x) if x.ndim == 2 else x


def record(x):
    return np.zeros(len(x), [("a", "f8"), ("b", "f8")])


SAME = {
    "float32": cast("float32"),
    "float16": cast("float16"),
    "long double": cast(np.longdouble),
    "big-endian float64": cast(">f8"),
    "big-endian float32": cast(">f4"),
    "Fortran order": np.asfortranarray,
    "strided": strided,
    "backwards": backwards,
    "read-only": read_only,
    "memory map": memory_map,
    "HDF5 dataset": hdf5,
    "list": lambda x: x.tolist(),
    "tuple": lambda x: tuple(map(tuple, x.tolist())) if x.ndim == 2 else tuple(x.tolist()),
    "list of arrays": list,
    "nothing masked": lambda x: np.ma.array(x, mask=np.zeros(x.shape, bool)),
    "objects that are floats": lambda x: x.astype(object),
    "decimals": lambda x: np.vectorize(decimal.Decimal, otypes=[object])(x),
    "has __array__": OnlyArray,
    "matrix": matrix,
    "memoryview": lambda x: memoryview(np.ascontiguousarray(x)),
    "tf.Tensor": lambda x: tf.constant(x, "float64"),
    "tf.Tensor float32": lambda x: tf.constant(x, "float32"),
    "tf.Tensor bfloat16": lambda x: tf.cast(tf.constant(x), tf.bfloat16),
    "tf.Variable": lambda x: tf.Variable(x, dtype="float64"),
    "csr_matrix": lambda x: scipy.sparse.csr_matrix(x.reshape(len(x), -1)),
    "coo_array": lambda x: scipy.sparse.coo_array(x.reshape(len(x), -1)),
    "dok_matrix": lambda x: scipy.sparse.dok_matrix(x.reshape(len(x), -1)),
    "pandas": frame,
    "pandas float32": lambda x: frame(x, dtype="float32"),
    "pandas nullable": lambda x: frame(x).astype("Float64"),
    "pandas odd index": lambda x: frame(x, index=[f"row {i}" for i in range(len(x))][::-1]),
    "pandas categories": lambda x: frame(x).astype("category"),
    "polars": polars_frame,
    "torch": lambda x: torch.tensor(x),
    "torch float32": lambda x: torch.tensor(x, dtype=torch.float32),
}

# Forms that hold whole numbers or booleans only: the door's array is brought to these first.
WHOLE = {
    "int8": cast("int8"),
    "int16": cast("int16"),
    "int64": cast("int64"),
    "big-endian int32": cast(">i4"),
    "list of ints": lambda x: x.astype(int).tolist(),
}
UNSIGNED = {"uint8": cast("uint8"), "uint16": cast("uint16"), "uint64": cast("uint64")}
BOOLEAN = {
    "bool": lambda x: x.astype(bool),
    "list of bools": lambda x: x.astype(bool).tolist(),
}

OTHER = {
    "NaN": spoiled(np.nan),
    "NaN last": spoiled(np.nan, -1),
    "NaN row": rows_of(np.nan),
    "all NaN": lambda x: np.full_like(x, np.nan),
    "inf": spoiled(np.inf),
    "-inf": spoiled(-np.inf),
    "negative": spoiled(-1.0),
    "all negative": lambda x: -1.0 - np.abs(x),
    "zero": np.zeros_like,
    "zero row": rows_of(0.0),
    "1e200": spoiled(1e200),
    "times 1e200": lambda x: x * 1e200,
    "1e308": spoiled(1e308),
    "1e40": spoiled(1e40),
    "times 255": lambda x: x * 255.0,
    "list with NaN": lambda x: spoiled(np.nan)(x).tolist(),
    "float32 NaN": lambda x: spoiled(np.nan)(x.astype("float32")),
    "float16 inf": lambda x: spoiled(np.inf)(x.astype("float16")),
    "tf.Tensor NaN": lambda x: tf.constant(spoiled(np.nan)(x)),
    "pandas NaN": lambda x: frame(spoiled(np.nan)(x)),
    "polars NaN": lambda x: polars_frame(spoiled(np.nan)(x)),
    "memory map NaN": lambda x: memory_map(spoiled(np.nan)(x)),
    "csr_matrix NaN": lambda x: scipy.sparse.csr_matrix(spoiled(np.nan)(x.reshape(len(x), -1))),
    "one row less": lambda x: x[:-1],
    "one row more": lambda x: np.concatenate([x, x[:1]]),
    "one row": lambda x: x[:1],
    "one column less": lambda x: x[..., :-1],
    "one column more": lambda x: np.concatenate([x, x[..., :1]], axis=-1),
    "transposed": lambda x: x.T,
    "no rows": lambda x: x[:0],
    "no columns": lambda x: x[..., :0],
    "0-d": lambda x: np.array(1.0),
    "1-d": lambda x: x.ravel(),
    "a column": lambda x: x.reshape(-1, 1),
    "3-d": lambda x: x[..., None],
    "leading axis": lambda x: x[None],
    "None": lambda x: None,
    "empty list": lambda x: [],
    "list of an empty list": lambda x: [[]],
    "a number": lambda x: 1.5,
    "an int": lambda x: 3,
    "masked rows": masked,
    "masked cell": masked_cell,
    "tuple of two": lambda x: (x, x),
    "list of two": lambda x: [x, x],
    "dict of x": lambda x: {"x": x},
    "tf.data": lambda x: tf.data.Dataset.from_tensor_slices(x).batch(4),
    "generator": lambda x: (row for row in x),
    "iterator": lambda x: iter(x.tolist()),
}

WRONG = {
    "complex": lambda x: x + 1j,
    "complex without imaginary part": lambda x: x.astype(complex),
    "complex list": lambda x: (x + 1j).tolist(),
    "strings": lambda x: np.full(x.shape, "abc"),
    "numeric strings": lambda x: x.astype(str),
    "numeric bytes": lambda x: x.astype("S8"),
    "list of numeric strings": lambda x: x.astype(str).tolist(),
    "text": lambda x: "abc",
    "numeric text": lambda x: "1.5",
    "bytes": lambda x: b"abc",
    "objects with None": objects(None),
    "objects with a string": objects("a"),
    "objects with a numeric string": objects("1.0"),
    "objects with complex": objects(1j),
    "objects with a list": objects([1.0]),
    "numeric strings as objects": lambda x: x.astype(str).astype(object),
    "list with None": lambda x: objects(None)(x).tolist(),
    "dates": lambda x: np.full(x.shape, np.datetime64("2020-01-01")),
    "time spans": lambda x: np.full(x.shape, np.timedelta64(3, "s")),
    "datetimes": objects(datetime.datetime(2020, 1, 1)),
    "records": record,
    "void": lambda x: np.zeros(x.shape, "V8"),
    "ragged": ragged,
    "ragged objects": ragged_objects,
    "dict of rows": lambda x: dict(enumerate(x)),
    "empty dict": lambda x: {},
    "set": lambda x: {1.0, 2.0},
    "range": lambda x: range(0),
    "function": lambda x: np.mean,
    "class": lambda x: np.ndarray,
    "an object": lambda x: object(),
    "module": lambda x: np,
    "Ellipsis": lambda x: ...,
    "NotImplemented": lambda x: NotImplemented,
    "closed HDF5 dataset": closed_hdf5,
    "HDF5 group": hdf5_group,
    "ragged tensor": lambda x: tf.ragged.constant([[1.0], [2.0, 3.0]]),
    "sparse tensor": lambda x: tf.sparse.from_dense(x),
    "string tensor": lambda x: tf.constant(["a", "b"]),
    "complex tensor": lambda x: tf.constant(x + 1j),
    "array module": lambda x: array.array("w" if sys.version_info >= (3, 13) else "u", "abc"),
    "pandas strings": lambda x: frame(x).astype(str),
    "pandas dates": lambda x: frame(x).map(lambda _: pandas.Timestamp("2020-01-01")),
    "pandas nullable NA": lambda x: frame(spoiled(np.nan)(x)).astype("Float64"),
    "pandas mixed": lambda x: frame(x).assign(name="a"),
    "polars strings": lambda x: polars_frame(x).cast(polars.String),
    "polars null": lambda x: polars_frame(x).with_columns(polars.lit(None).alias("c0")),
    "torch gradient": lambda x: torch.tensor(x, requires_grad=True),
    "torch sparse": lambda x: torch.tensor(x).to_sparse(),
    "missing file": lambda x: "nowhere.npy",
}
SHAPES = "1-d", "transposed", "a column"  # which may be those of the array itself
NEEDS = {"pandas": pandas, "polars": polars, "torch": torch}


def is_there(kind):
    """Whether the library that the kind is of is installed."""
    return NEEDS.get(kind.split()[0], True) is not None


KINDS = {
    kind: make
    for kind, make in (SAME | WHOLE | UNSIGNED | BOOLEAN | OTHER | WRONG).items()
    if is_there(kind)
}


def reference(kind, base):
    """The plain array, in C order, whose values a kind holds; None for kinds of other values."""
    if kind in SAME or np.array_equal(KINDS[kind](base) if kind in SHAPES else None, base):
        return base.copy()
    if kind in WHOLE:
        return np.rint(base).astype(base.dtype)
    if kind in UNSIGNED:
        return np.abs(np.rint(base)).astype(base.dtype)
    if kind in BOOLEAN:
        return (base > np.median(base)).astype(base.dtype)
    return None
