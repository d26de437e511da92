"""Hosts that run the same program on their own rows, under one strategy of TensorFlow."""

import contextlib
import hashlib
import json
import os
import signal
import threading
import weakref

import numpy as np
import tensorflow as tf

from kserket import hosts
from kserket.core.host_meeting import meet

_GROUPS: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()  # by strategy
_TOO_LATE = (
    "TF_CONFIG and the strategy must be there before TensorFlow does anything else. Set TF_CONFIG "
    "before Python starts, and call kserket.multi_worker_strategy() right after the imports."
)
# What TensorFlow raises in an exchange of which another host is not part any more.
_LOST = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.InternalError,
    tf.errors.FailedPreconditionError,
    tf.errors.UnknownError,
)


class HostGroup:
    """The hosts of a `tf.distribute.MultiWorkerMirroredStrategy`, as `kserket.hosts` has them.

    Args:
        strategy: The strategy.
    """

    def __init__(self, strategy):
        resolver = strategy.cluster_resolver
        has_chief = "chief" in resolver.cluster_spec().as_dict()
        self.size = _num_hosts(strategy)
        self.index = resolver.task_id + (has_chief and resolver.task_type == "worker")
        self.local_replicas = len(strategy.extended.worker_devices)
        self.num_sums = self.bytes_summed = 0  # of vectors that were given to `sum`
        self._sum = _make_sum(strategy, self.local_replicas)

    def sum(self, values):
        """The sum of float64 arrays (n,) over the hosts, on all of them."""
        self.num_sums, self.bytes_summed = self.num_sums + 1, self.bytes_summed + values.nbytes
        return self._sum(tf.convert_to_tensor(values)).numpy()

    def __deepcopy__(self, memo):
        return self


def _make_sum(strategy, local_replicas):
    """Compiled sum of a vector over hosts; the first device of each speaks for its host."""

    def add(values):
        context = tf.distribute.get_replica_context()
        return context.all_reduce(tf.distribute.ReduceOp.SUM, tf.identity(values))

    def total(values):
        def share(context):
            speaks = context.replica_id_in_sync_group % local_replicas == 0
            return tf.identity(values) if speaks else tf.zeros_like(values)

        shares = strategy.experimental_distribute_values_from_function(share)
        return strategy.experimental_local_results(strategy.run(add, (shares,)))[0]

    signature = [tf.TensorSpec([None], tf.float64)]
    return tf.function(total, input_signature=signature, autograph=False)


def group_of(strategy):
    """The hosts that work together under a strategy.

    Args:
        strategy: `tf.distribute.Strategy`, or None.

    Returns:
        `HostGroup`, or `kserket.hosts.Alone` where there is one host.

    Raises:
        ValueError: If the strategy was made before TF_CONFIG named its hosts, or is one whose
            processes do not run the same program.
    """
    if isinstance(strategy, tf.distribute.ParameterServerStrategy):
        raise ValueError(
            "kserket does not train under tf.distribute.ParameterServerStrategy, whose workers do "
            "not run the same program. Make modules under "
            "tf.distribute.MultiWorkerMirroredStrategy for several hosts, "
            "tf.distribute.MirroredStrategy for one, or none."
        )
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return hosts.Alone()
    if strategy not in _GROUPS:
        _GROUPS[strategy] = _find_group(strategy)
    return _GROUPS[strategy]


def _num_hosts(strategy):
    """For how many hosts a strategy was made; its resolver reads TF_CONFIG anew each time."""
    return strategy.num_replicas_in_sync // len(strategy.extended.worker_devices)


def _find_group(strategy):
    number, named = _num_hosts(strategy), len(_addresses(_read_config()))
    if named > number:
        raise ValueError(
            f"TF_CONFIG names {named} hosts, but the strategy was made for {number}: it was set "
            f"too late. {_TOO_LATE}"
        )
    return HostGroup(strategy) if number > 1 else hosts.Alone()


# The strategy --------------------------------------------------------------------------------


def multi_worker_strategy(timeout: float = 300.0) -> tf.distribute.Strategy:
    """The strategy of the hosts that TF_CONFIG names, found fit to be used.

    The environment variable TF_CONFIG is JSON such as
    `{"cluster": {"worker": ["10.0.0.1:12345", "10.0.0.2:12345"]}, "task": {"type": "worker",
    "index": 0}}`: addresses of all hosts, and which of them this is. Where it is not set, there
    is one host, and the strategy is TensorFlow's default one, which changes nothing.

    Args:
        timeout: Seconds to wait for the other hosts to start.

    Returns:
        A `tf.distribute.MultiWorkerMirroredStrategy`, or the default strategy of one host.

    Raises:
        OSError: If the port of this host is taken.
        RuntimeError: If TensorFlow has started already, or another host does not start in time.
        ValueError: If TF_CONFIG cannot be read, or those of the hosts do not agree.

    Example:

    ```python
    import kserket as srk

    strategy = srk.multi_worker_strategy()
    with strategy.scope():
        ...  # modules and graph, as ever
    ```
    """
    config = _read_config()
    addresses = _addresses(config)
    if len(addresses) <= 1:
        return tf.distribute.get_strategy()
    index = _own_index(config)
    if _has_started():
        raise RuntimeError(f"The hosts cannot be connected any more. {_TOO_LATE}")
    meet(addresses, index, timeout)
    _miss_soon(config)
    try:
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
    except tf.errors.OpError as error:
        raise RuntimeError(
            f"The {len(addresses)} hosts could not be connected: {', '.join(addresses)}. Look at "
            f"their logs, and start all of them again. TensorFlow says: {_reason(error)}"
        ) from error
    _end_when_asked()
    return strategy


def _read_config():
    """TF_CONFIG as a dict, empty where it is not set."""
    text = os.environ.get("TF_CONFIG", "").strip()
    try:
        config = json.loads(text) if text else {}
    except json.JSONDecodeError as error:
        raise ValueError(
            f"The environment variable TF_CONFIG must be JSON. {error}. Received: {text:.200}"
        ) from error
    if not isinstance(config, dict) or not isinstance(config.get("cluster", {}), dict):
        raise ValueError(
            f'TF_CONFIG must be a JSON object with "cluster" and "task". Received: {text:.200}'
        )
    return config


def _addresses(config):
    """Addresses of the hosts, in their order."""
    cluster = config.get("cluster", {})
    return [*cluster.get("chief", []), *cluster.get("worker", [])]


def _own_index(config):
    """The number of this host; ValueError unless TF_CONFIG says which of its hosts this is."""
    task = config.get("task")
    kind = task.get("type") if isinstance(task, dict) else None
    known = config["cluster"].get(kind, []) if kind in ("chief", "worker") else []
    index = task.get("index") if isinstance(task, dict) else None
    if not isinstance(index, int) or not 0 <= index < len(known):
        raise ValueError(
            'TF_CONFIG needs "task" with "type" ("chief" or "worker") and an "index" in '
            f"that list of the cluster. Received: task={task!r} of cluster={config['cluster']!r}"
        )
    return index + (len(config["cluster"].get("chief", [])) if kind == "worker" else 0)


def _has_started():
    """Whether TensorFlow has looked for its devices, after which it takes no other hosts in."""
    try:
        from tensorflow.python.eager import context

        return context.context()._context_handle is not None
    except (ImportError, AttributeError):  # another TensorFlow, which raises its own error
        return False


def _miss_soon(config):
    """Sets how soon TensorFlow misses a host."""
    try:
        from tensorflow.core.protobuf import coordination_config_pb2
        from tensorflow.python.eager import context

        jobs = [
            coordination_config_pb2.CoordinatedJob(name=job, num_tasks=len(config["cluster"][job]))
            for job in ("chief", "worker")
            if job in config["cluster"]
        ]
        leader = "chief" if "chief" in config["cluster"] else "worker"
        context.context().configure_coordination_service(
            service_type="standalone",
            service_leader=f"/job:{leader}/replica:0/task:0",
            heartbeat_timeout_in_ms=20_000,
            shutdown_barrier_timeout_in_ms=20_000,
            coordinated_jobs=jobs,
        )
    except (ImportError, AttributeError, TypeError):  # another TensorFlow: its own defaults
        pass


def _end_when_asked():
    """Lets SIGTERM end the process again, which TensorFlow's service for several hosts keeps."""
    is_main = threading.current_thread() is threading.main_thread()
    if is_main and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


# One run on all of them ----------------------------------------------------------------------


@contextlib.contextmanager
def working_together(group):
    """Inside, hosts work together; an error of an exchange says that one is lost, and what to do.

    Args:
        group: `HostGroup` or `Alone`.

    Raises:
        RuntimeError: If another host has ended, or cannot be reached.
    """
    if group.size == 1:
        yield
        return
    try:
        with hosts.together(group):
            yield
    except _LOST as error:
        raise RuntimeError(
            f"Host {group.index} of {group.size} cannot go on: another one has ended, or cannot "
            "be reached any more. Its own log says why. Start all of them again; with the same "
            "backup_dir they go on from the last finished round. TensorFlow says: "
            f"{_reason(error)}"
        ) from error


def check_agreement(what):
    """Raises ValueError unless all hosts have the same.

    Args:
        what: Dict that JSON can hold, of what all hosts must agree in.

    Raises:
        ValueError: If they do not, on all hosts, naming the first difference.
    """
    if hosts.num_hosts() == 1:
        return
    text = json.dumps(what, sort_keys=True, default=str).encode()
    digests = hosts.gather_rows(np.frombuffer(hashlib.sha256(text).digest(), np.uint8)[None])
    if (digests == digests[0]).all():
        return
    sizes = hosts.gather_rows(np.array([len(text)]))
    letters = hosts.gather_rows(np.frombuffer(text, np.uint8)).tobytes()
    ends = np.cumsum(sizes)
    texts = [json.loads(letters[end - size : end]) for end, size in zip(ends, sizes, strict=True)]
    for index, other in enumerate(texts):
        if other != texts[0]:
            where, first, here = _difference(texts[0], other)
            raise ValueError(
                f"All hosts must run the same program: {where} is {first!r:.200} on host 0, but "
                f"{here!r:.200} on host {index}. Nothing was learned. Give all hosts the same "
                "versions, modules and options."
            )


def _difference(first, other, where=""):
    """Where two JSON values differ first, and what stands there."""
    if isinstance(first, dict) and isinstance(other, dict):
        for key in sorted({*first, *other}):
            if first.get(key) != other.get(key):
                return _difference(first.get(key), other.get(key), f"{where}/{key}".lstrip("/"))
    return where, first, other


def _reason(error):
    """The line of an error of TensorFlow that says what ended an exchange; else the first one."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    reasons = [line.rpartition("aborted by: ")[2] for line in lines if "aborted by: " in line]
    return next(filter(None, reasons), lines[0])[:300]
