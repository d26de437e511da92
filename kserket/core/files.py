"""Files that are written all or not at all, by Python: what every writer here goes through.

A new file is written beside its place under a name of its own, and locked while it is written. So
writers never meet, and what a dead writer left is distinguished from what another is writing.
"""

import contextlib
import errno
import os
import pathlib
import platform
import secrets
import shutil

import tensorflow as tf

try:
    import fcntl
except ImportError:  # Windows, which lets nobody remove a file that is open
    fcntl = None  # type: ignore[assignment]

_NO_ROOM = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}
_ERRNO = {  # of TensorFlow's errors
    tf.errors.ResourceExhaustedError: errno.ENOSPC,
    tf.errors.PermissionDeniedError: errno.EACCES,
    tf.errors.NotFoundError: errno.ENOENT,
}


@contextlib.contextmanager
def replacing(sync=False):
    """Files that take their names together when all went well; else none of them does.

    Args:
        sync: Whether the files are on disk before they take their names.

    Yields:
        A function from path to the binary file to write.

    Raises:
        OSError: If a file cannot be written, naming it. What stood there still does.
    """
    opened = []  # pairs of path and file
    try:

        def open_new(path):
            path = pathlib.Path(path)
            with naming(path):
                _check_place(path)
                clear_left_overs(path)
                opened.append((path, _create(path)))
            return opened[-1][1]

        try:
            yield open_new
        except OSError as error:
            if error.filename is not None or not opened:
                raise
            with naming(opened[-1][0]):
                raise
        for path, file in opened:
            with naming(path):
                file.flush()
                if sync:
                    os.fsync(file.fileno())
                if fcntl is None:
                    file.close()
        for path, file in opened:
            with naming(path):
                os.replace(file.name, path)
        if sync:
            for folder in {path.parent for path, _ in opened}:
                sync_folder(folder)
    finally:
        for _, file in opened:
            with contextlib.suppress(OSError):
                file.close()
            with contextlib.suppress(OSError):
                os.unlink(file.name)


@contextlib.contextmanager
def writing(path, sync=False):
    """`replacing` of one file.

    Args:
        path: The file.
        sync: Whether it is on disk before it takes its name.

    Yields:
        The binary file to write.
    """
    with replacing(sync) as open_new:
        yield open_new(path)


@contextlib.contextmanager
def replacing_folder(path):
    """A new folder, for libraries that write files themselves; its files then go to `path`.

    Args:
        path: The folder that they go to. It is as it was if something goes wrong before.

    Yields:
        The path of the new folder, beside it.

    Raises:
        OSError: If something cannot be written, naming `path`.
    """
    path = pathlib.Path(os.path.abspath(path))
    with naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        clear_left_overs(path)
        with _new_folder(path) as folder:
            yield folder
            new = [file.relative_to(folder) for file in folder.rglob("*") if file.is_file()]
            for name in sorted(new, key=lambda name: -len(name.parts)):  # the top's complete it
                (path / name).parent.mkdir(parents=True, exist_ok=True)
                os.replace(folder / name, path / name)


@contextlib.contextmanager
def memory_folder():
    """A folder in memory, for libraries that take paths and must not meet a full disk.

    Yields:
        `(prefix, read)`: what paths in it begin with, for TensorFlow and Keras, and a function
        from such a path to the bytes that were written there.
    """
    prefix = f"ram://kserket-{secrets.token_hex(8)}/"
    try:
        yield prefix, _read_from_memory
    finally:
        with contextlib.suppress(tf.errors.NotFoundError):
            tf.io.gfile.rmtree(prefix)


def keep(path, name):
    """Gives a file a second name, under which it stays when another takes the first.

    Args:
        path: The file.
        name: The second name. Its folder is made.
    """
    name = pathlib.Path(name)
    with naming(name):
        name.parent.mkdir(exist_ok=True)
        second = _temporary_name(name)
        try:
            try:
                os.link(path, second)
            except OSError:  # a file system without links
                shutil.copyfile(path, second)
            os.replace(second, name)
        finally:
            second.unlink(missing_ok=True)


def clear_left_overs(path, prefix=None):
    """Removes what writers of a file left that are no more.

    Args:
        path: The file.
        prefix: How the names of the files begin; None is the name of this one.
    """
    prefix = f".{prefix or path.name + '.'}"
    with contextlib.suppress(OSError), os.scandir(path.parent) as entries:
        for entry in entries:
            if entry.name.startswith(prefix) and entry.name.endswith(".tmp"):
                with contextlib.suppress(OSError):
                    _remove_unless_held(entry)


@contextlib.contextmanager
def holding(folder, name=".lock"):
    """A folder that one call has to itself, made if it is not there.

    Args:
        folder: The folder.
        name: The file whose holder has it; calls that share the folder have each its own.

    Yields:
        A function that makes the folder, and takes it, again where it was removed.

    Raises:
        OSError: If nothing can be written there.
        RuntimeError: If another call, of this process or another, has it.
    """
    path, held = pathlib.Path(folder) / name, []

    def take():
        if held and path.exists():
            return
        with naming(path.parent):
            path.parent.mkdir(parents=True, exist_ok=True)
            held.append(_take(path))

    try:
        take()
        yield take
    finally:
        if held:
            with contextlib.suppress(OSError):
                os.unlink(path)
        for handle in held:
            os.close(handle)


def check_room(folder, size=2**16):
    """Raises OSError unless some bytes can be written in a folder.

    Args:
        folder: The folder.
        size: Their number.
    """
    with naming(folder):
        file = _create(pathlib.Path(folder) / "room")
        try:
            with file:
                file.write(bytes(size))
        finally:
            os.unlink(file.name)


def lock(handle):
    """Locks a file until it is closed or the process ends, however it ends.

    Args:
        handle: Its file descriptor.

    Returns:
        Whether nobody else holds it. Also true where files cannot be locked.
    """
    if fcntl is None:
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


@contextlib.contextmanager
def naming(path):
    """An OSError inside names this file, and says what to do if space ran out.

    TensorFlow's errors about files become such errors.

    Args:
        path: The file or folder that was asked for.
    """
    try:
        yield
    except (OSError, *_ERRNO) as error:
        number = getattr(error, "errno", None)
        number = number or next((_ERRNO[kind] for kind in _ERRNO if isinstance(error, kind)), None)
        if getattr(error, "filename", None) == str(path):  # it is named, maybe by us
            raise
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise _named(number, reason, path) from error


def sync_folder(folder):
    """Makes a rename survive a power failure, where folders can be synced.

    Args:
        folder: The folder.
    """
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _read_from_memory(path):
    with tf.io.gfile.GFile(path, "rb") as file:
        return file.read()


def _named(number, reason, path):
    """An OSError of a number, with words."""
    text = f"{path} could not be written: {reason}."
    if number in _NO_ROOM:
        text = (
            f"There is no space left to write {path} ({reason}). Make room on that disk, or choose "
            "another, and call again. What stood there before is unchanged."
        )
    elif number in (errno.EACCES, errno.EROFS, errno.EPERM):
        text += " Choose a folder that you may write to."
    elif number == errno.EMFILE:
        text += " Close files that you no longer need, and call again."
    return _with_place(OSError(number or errno.EIO, text), path)


def _check_place(path):
    """Raises an OSError unless this can be the path of a new file."""
    if path.name == "" or path.is_dir():
        text = f"{path} is a folder. Name a file in it"
        raise _with_place(OSError(errno.EISDIR, text), path)
    if not path.parent.is_dir():
        text = f"There is no folder {path.parent}. Make it first: os.makedirs({str(path.parent)!r})"
        raise _with_place(OSError(errno.ENOENT, text), path)


def _with_place(error, path):
    error.filename = str(path)
    return error


def _temporary_name(path):
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")


def _create(path):
    """A new file beside `path`, locked."""
    while True:
        file = open(_temporary_name(path), "xb")
        if lock(file.fileno()) and (fcntl is None or os.fstat(file.fileno()).st_nlink):
            return file
        file.close()  # somebody who clears left-overs came between


def _take(path):
    """The descriptor of a lock file that says who holds it."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        if not lock(handle):
            holder = os.read(handle, 1000).decode(errors="replace").strip() or "somebody else"
            os.close(handle)
            raise RuntimeError(
                f"{path.parent} is in use by {holder}. Wait for that to end, or choose another "
                "folder."
            )
        if fcntl is None or os.fstat(handle).st_nlink:
            break
        os.close(handle)  # its holder ended just now
    try:
        os.truncate(handle, 0)
        os.write(handle, f"process {os.getpid()} on {platform.node()}\n".encode())
    except OSError:
        os.unlink(path)
        os.close(handle)
        raise
    return handle


@contextlib.contextmanager
def _new_folder(path):
    """A new folder beside `path`, locked, and removed at the end."""
    with contextlib.ExitStack() as on:
        while True:
            folder = _temporary_name(path)
            folder.mkdir()
            on.callback(shutil.rmtree, folder, ignore_errors=True)
            if fcntl is None:
                break
            with contextlib.suppress(FileNotFoundError):  # somebody clears left-overs
                handle = os.open(folder, os.O_RDONLY)
                on.callback(os.close, handle)
                if lock(handle) and folder.exists():
                    break
        yield folder


def _remove_unless_held(entry):
    """Removes a temporary file or folder whose writer is no more."""
    remove = shutil.rmtree if entry.is_dir(follow_symlinks=False) else os.unlink
    if fcntl is None:
        remove(entry.path)
        return
    handle = os.open(entry.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        remove(entry.path)
    finally:
        os.close(handle)
