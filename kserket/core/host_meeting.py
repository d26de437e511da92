"""Hosts wait for each other before TensorFlow connects them, whose own wait has no end."""

import contextlib
import socket
import time

_PATIENCE = 5.0  # seconds for a line of a connection that is there


def meet(addresses, index, timeout):
    """Returns when all hosts have called it. The first one listens, and the others report to it.

    Args:
        addresses: List of the addresses of all hosts, "10.0.0.1:12345".
        index: The number of this host.
        timeout: Seconds to wait.

    Raises:
        OSError: If the port of this host is taken.
        RuntimeError: If not all of them come in time.
        ValueError: If an address has no port, or hosts disagree about how many there are, or which.
    """
    end = time.monotonic() + timeout
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(_listening(addresses[index]))
        missing = _report(addresses, index, end) if index else _gather(listener, addresses, end)
    if missing:
        raise RuntimeError(
            f"{len(addresses)} hosts were to start within {timeout:g} s. Host {index} waited for "
            f"{', '.join(missing)} in vain. Look at their logs, check that each host can reach the "
            "others, and start all of them again."
        )


def _listening(address):
    """A socket that holds the port of this host."""
    port = _split(address)[1]
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("", port))
        listener.listen()
    except OSError as error:
        listener.close()
        raise OSError(
            error.errno,
            f"Port {port} of this host, which TF_CONFIG gives it, cannot be used: "
            f"{error.strerror}. Another program listens there, maybe an earlier run. End it, "
            "or choose another port in TF_CONFIG of all hosts.",
        ) from error
    return listener


def _split(address):
    """Name and port."""
    name, _, port = address.rpartition(":")
    if not port.isdigit():
        raise ValueError(
            f"TF_CONFIG needs addresses with a port: 10.0.0.1:12345. Received: {address!r}"
        )
    return name.strip("[]"), int(port)


def _gather(listener, addresses, end):
    """What the first host does; the hosts that did not come."""
    number, met = len(addresses), {}
    with contextlib.ExitStack() as stack:
        while len(met) < number - 1:
            listener.settimeout(max(0.001, end - time.monotonic()))
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                return [addresses[other] for other in range(1, number) if other not in met]
            stack.enter_context(connection)
            word, *numbers = _line(connection, _PATIENCE).split() or [""]
            if word != "kserket" or len(numbers) != 2 or not "".join(numbers).isdigit():
                continue  # a stranger
            size, other = map(int, numbers)
            if size != number or not 0 < other < number:
                _say(connection, f"host 0 knows of {number} hosts, and host {other} of {size}")
            elif other in met and _is_open(met[other]):
                _say(connection, f"two hosts say that they are host {other}")
            else:
                met[other] = connection
        for connection in met.values():
            _say(connection, "go")
            _line(connection, _PATIENCE)  # until it closes, so that the port is free here
    return []


def _report(addresses, index, end):
    """What the others do; the first host, if it does not answer."""
    while (left := end - time.monotonic()) > 0:
        with contextlib.suppress(OSError):  # not there yet, or not any more
            with socket.create_connection(_split(addresses[0]), min(left, _PATIENCE)) as connection:
                _say(connection, f"kserket {len(addresses)} {index}")
                answer = _line(connection, end - time.monotonic())
            if answer == "go":
                return []
            if answer.startswith(("host ", "two ")):
                raise ValueError(
                    f"TF_CONFIG of all hosts must have the same cluster, and each its own index: "
                    f"{answer}."
                )
        time.sleep(0.2)
    return [addresses[0]]


def _say(connection, text):
    with contextlib.suppress(OSError):  # it has gone
        connection.sendall(f"{text}\n".encode())


def _line(connection, patience):
    """What comes next, without the end of the line; empty if nothing does."""
    connection.settimeout(max(0.01, patience))
    received = b""
    with contextlib.suppress(OSError):
        while not received.endswith(b"\n") and len(received) < 200:
            part = connection.recv(200)
            if not part:
                break
            received += part
    return received.decode("utf-8", "replace").strip()


def _is_open(connection):
    """Whether a host that waits is still there."""
    connection.setblocking(False)
    try:
        return connection.recv(1) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False
