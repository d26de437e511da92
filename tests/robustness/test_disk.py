"""Disks that are full, limits that are reached, what the dead left behind: nothing is lost."""

import signal
import subprocess
import sys
import textwrap

import pytest

PROGRAM = """
    import os, pathlib, shutil, sys
    import kserket as srk
    from kserket import gmm, vae

    place, kind = sys.argv[1:3]
    def make():
        x = srk.datasets.make_mixture(200, 3, 20, seed=0).x
        obs = srk.Observation(x)
        vae1 = vae.VAE(2, itr=1, likelihood="gaussian", save_dir=None)
        gmm1 = gmm.GMM(3, save_dir=f"{place}/files" if kind == "files" else None, itr=2, n_init=1)
        vae1.connect(obs)
        gmm1.connect(vae1)
        return srk.Graph(gmm1, seed=0)

    graph = make()
    graph.fit(1, verbose=0)
    backup_dir = f"{place}/run" if kind == "backup" else None

    def work():
        if kind == "save":
            graph.save(f"{place}/g.kserket")
        elif kind == "export":
            graph.export(f"{place}/served")
        elif kind == "lite":
            graph.export(f"{place}/served.tflite")
        else:
            graph.fit(1, verbose=0, backup_dir=backup_dir)

    if kind == "export":
        graph.export(f"{place}/served")
    limit = LIMIT
    for left in (0, 6_000, 14_000, 30_000):
        with limit(left):
            before, rounds = graph.round, graph["gmm"].rounds
            try:
                work()
                print("fitted", left)
            except OSError as error:
                assert place in str(error) and "no space left" in str(error), error
                assert kind == "backup" or (graph.round, graph["gmm"].rounds) == (before, rounds)
                print("refused", left)
        if kind == "export":  # the good one still serves
            import tensorflow as tf
            assert tf.saved_model.load(f"{place}/served").signatures["classify"]
    work()
    hidden = [path for path in pathlib.Path(place).rglob(".*") if path.suffix == ".tmp"]
    assert not hidden, hidden
    if kind == "save":
        srk.load_graph(f"{place}/g.kserket")
    print("alive")
"""
FILE_LIMIT = """
    import contextlib, resource, signal
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    @contextlib.contextmanager
    def LIMIT(left):
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (left, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
"""
FULL_DISK = """
    import contextlib, os, sys

    @contextlib.contextmanager
    def LIMIT(left):
        room = os.statvfs(sys.argv[1])
        ballast = os.path.join(sys.argv[1], "ballast")
        with open(ballast, "wb") as file:
            file.write(bytes(max(0, room.f_bavail * room.f_frsize - left)))
        try:
            yield
        finally:
            os.remove(ballast)
"""


def run(limit, *args):
    """Runs the program under a limit; what it printed."""
    code = textwrap.dedent(limit) + textwrap.dedent(PROGRAM)
    child = subprocess.run(
        [sys.executable, "-c", code, *args], capture_output=True, text=True, timeout=1200
    )
    assert child.returncode == 0, child.stderr[-3000:]
    return child.stdout.split()


@pytest.mark.skipif(not hasattr(signal, "SIGXFSZ"), reason="needs limits on the size of files")
@pytest.mark.parametrize(
    "kind", ["save", *(pytest.param(k, marks=pytest.mark.fuzz) for k in ("backup", "files"))]
)
def test_files_that_may_not_grow(kind, tmp_path):
    printed = run(FILE_LIMIT, str(tmp_path), kind)
    assert printed[-1] == "alive" and "refused" in printed


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 1 MB."""
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("file systems can be mounted by root on Linux only")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize(
    "kind",
    ["backup", *(pytest.param(k, marks=pytest.mark.fuzz) for k in ("save", "files", "export"))],
)
def test_a_full_disk(kind, small_disk):
    printed = run(FULL_DISK, str(small_disk), kind)
    assert printed[-1] == "alive" and "refused" in printed
