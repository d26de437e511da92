"""HDF5 without surprises: written where writing cannot fail, read only after it was checked.

When HDF5 cannot write, its library ends the process sooner or later. So it writes to memory, and
Python writes the bytes to the disk.
"""

import io

import h5py
import numpy as np

from kserket import storage

_MAX_DEPTH = 64  # of groups in groups
_ROOM = 2**16  # bytes of a file beside its arrays, and a sixteenth of that for each array


def pack(arrays, text=None, user_block=0):
    """An HDF5 file of arrays.

    Args:
        arrays: Dict from name to array; "a/b" is in a group.
        text: Bytes of the file's attribute "kserket", of fixed length; None is no attribute.
        user_block: Number of free bytes before the file, a power of 2 from 512 on, or 0.

    Returns:
        Bytes (n,), "uint8": in memory, or in a scratch file if they are many.
    """
    arrays = {name: np.asanyarray(array) for name, array in arrays.items()}
    room = sum(array.nbytes + _ROOM // 16 for array in arrays.values())
    target = _Memory(room + len(text or b"") + user_block + _ROOM)
    with h5py.File(target, "w", userblock_size=user_block) as file:
        if text is not None:
            file.attrs["kserket"] = np.bytes_(text)
        for name, array in arrays.items():
            file.create_dataset(name, data=array)
    return target.array[: target.size]


def datasets(group, size):
    """The datasets in a group and the groups in it, each checked before it is read.

    Args:
        group: `h5py.File` or group.
        size: Bytes of the file: all datasets together hold no more.

    Yields:
        Pairs of name, "a/b", and dataset.

    Raises:
        ValueError: If there is a link out of the file, an object that stands in two places, groups
            nested too deeply, or a dataset that is not numbers, or claims to hold more than what
            stands in the file.
    """
    seen, total = set(), 0
    for name, dataset in _walk(group, "", 0, seen):
        total += _check_dataset(dataset, name)
        if total > size:
            raise ValueError(f"its arrays claim more than the {size} bytes of the file.")
        yield name, dataset


def _walk(group, path, depth, seen):
    if depth > _MAX_DEPTH:
        raise ValueError(f"its groups are nested too deeply, {path[:60]!r}.")
    for key in group:
        name = f"{path}{key}"
        if not isinstance(group.get(key, getlink=True), h5py.HardLink):
            raise ValueError(f"{name!r} is a link, which may lead out of the file.")
        item = group[key]
        address = h5py.h5o.get_info(item.id).addr
        if address in seen:
            raise ValueError(f"{name!r} stands in two places of the file.")
        seen.add(address)
        if isinstance(item, h5py.Group):
            yield from _walk(item, f"{name}/", depth + 1, seen)
        else:
            yield name, item


def _check_dataset(dataset, name):
    """The number of bytes of a dataset of numbers; ValueError unless they stand in its file."""
    if not isinstance(dataset, h5py.Dataset) or dataset.dtype.kind not in "fiubcS":
        raise ValueError(f"{name!r} is not an array of numbers.")
    plan = dataset.id.get_create_plist()
    plain = plan.get_layout() in (h5py.h5d.CONTIGUOUS, h5py.h5d.COMPACT)
    if not plain or plan.get_external_count() or dataset.shape is None:
        raise ValueError(f"array {name!r} is compressed, chunked, or stored in other files.")
    claimed = int(np.prod(dataset.shape, dtype=object)) * dataset.dtype.itemsize
    if claimed != dataset.id.get_storage_size():
        raise ValueError(
            f"array {name!r} claims {claimed} bytes of shape {dataset.shape}, but the file holds "
            f"{dataset.id.get_storage_size()}."
        )
    return claimed


class _Memory(io.RawIOBase):
    """A file that has room for all that is written to it."""

    def __init__(self, room):
        self.array = storage.empty((room,), "uint8")
        if storage.memory_map(self.array) is None:
            self.array[:] = 0
        self.size = self.position = 0

    def readable(self):
        return True

    def writable(self):
        return True

    def seekable(self):
        return True

    def seek(self, offset, whence=io.SEEK_SET):
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self.position, io.SEEK_END: self.size}[whence]
        self.position = start + offset
        return self.position

    def tell(self):
        return self.position

    def truncate(self, size=None):
        self.size = self.position if size is None else size
        return self.size

    def readinto(self, target):
        part = self.array[self.position : min(self.position + len(target), self.size)]
        target[: len(part)] = part.tobytes()
        self.position += len(part)
        return len(part)

    def write(self, content):
        content = np.frombuffer(content, "uint8")
        self.array[self.position : self.position + len(content)] = content
        self.position += len(content)
        self.size = max(self.size, self.position)
        return len(content)
