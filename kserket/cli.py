"""The command `kserket`: a demonstration, and what can be done with saved and exported graphs."""

from __future__ import annotations

import argparse
import pathlib
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

PROBABILITY_TOLERANCE = 1e-5  # what an export promises


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
        argv: Its arguments; None takes those of the process.

    Returns:
        0, or 1 after an error, which is printed in one line.
    """
    args = _parser().parse_args(argv)
    try:
        args.run(args)
    except BrokenPipeError:  # the reader of a pipe, such as `head`, has seen enough
        sys.stderr.close()
    except (ValueError, TypeError, KeyError, RuntimeError, OSError, ImportError) as error:
        reason = error.args[0] if isinstance(error, KeyError) else error
        print(f"kserket {args.command}: {reason}", file=sys.stderr)
        return 1
    return 0


def _parser():
    parser = argparse.ArgumentParser(
        prog="kserket", description="Probabilistic models composed into one that learns together."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    command = commands.add_parser("demo", help="four eyes learn from each other; makes pictures")
    command.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    command.add_argument("--rounds", type=int, default=4, help="of messages")
    command.add_argument("--out", type=pathlib.Path, default=pathlib.Path("demo"))
    command.add_argument("--quick", action="store_true", help="little training: does it run?")
    command.set_defaults(run=_demo)

    command = commands.add_parser("info", help="what a saved graph is and what it has learned")
    command.add_argument("file", help="what Graph.save wrote")
    command.set_defaults(run=_info)

    command = commands.add_parser("predict", help="classes of new data, as CSV")
    command.add_argument("file", help="what Graph.save wrote")
    command.add_argument("data", help=".npy, .csv, or .npz with the names of observations")
    command.add_argument("--outputs", nargs="+", metavar="NAME", help="modules or observations")
    command.add_argument("--classes", action="store_true", help="the likeliest class only")
    command.add_argument("--out", help="a .csv, .npy or .npz file; printed without it")
    command.set_defaults(run=_predict)

    command = commands.add_parser("serve-check", help="ask every signature of an exported graph")
    command.add_argument("folder", help="what Graph.export wrote, such as served/1")
    command.add_argument("--data", help="samples to ask with; zeros without it")
    command.add_argument("--file", help="the saved graph, whose predict must give the same")
    command.set_defaults(run=_serve_check)
    return parser


# demo -------------------------------------------------------------------------------------


def _demo(args):
    from kserket import demo

    demo.run(args.seeds, args.rounds, args.out, args.quick)


# info -------------------------------------------------------------------------------------


def _info(args):
    from kserket.core.loading import load_graph
    from kserket.core.saving import NotSaved

    graph = load_graph(args.file)
    graph.summary()
    for name, observation in graph.observations.items():
        is_there = not isinstance(observation.data, NotSaved)
        print(f"data of {name}: {observation.data.shape if is_there else 'not in the file'}")
    for name, values in graph.history.history.items():
        print(f"{name}: {values[-1]:.6g}")


# predict ----------------------------------------------------------------------------------


def _predict(args):
    from kserket.core.loading import load_graph
    from kserket.core.prediction import feature_names

    graph = load_graph(args.file)
    data = _data_for(graph, args.data)
    wanted = args.outputs or [graph.names[top] for top in graph.tops]
    answers = graph.predict(data, outputs=wanted)
    if args.classes:
        answers = {name: _classes(name, answer) for name, answer in answers.items()}
    columns = {name: feature_names(graph[name], answer) for name, answer in answers.items()}
    if args.out is None:
        write_csv(sys.stdout, answers, columns)
        return
    suffix = pathlib.Path(args.out).suffix
    if suffix == ".npz":
        np.savez(args.out, **answers)
    elif suffix == ".npy" and len(answers) == 1:
        np.save(args.out, *answers.values())
    elif suffix == ".csv":
        with open(args.out, "w", encoding="utf-8") as file:
            write_csv(file, answers, columns)
    else:
        raise ValueError(
            f"`--out` takes a .csv or .npz file, or .npy for one output. Received: {args.out}"
        )


def _classes(name, answer):
    if answer.ndim != 2:
        raise ValueError(
            f"`--classes` needs probabilities (N, K). {name} gives an array {answer.shape}."
        )
    return answer.argmax(axis=1)


def read_data(path: str) -> Any:
    """Data of a file, as `Graph.predict` takes them.

    Args:
        path: `.npy` holds an array (N, ...), `.npz` one by the name of each observation, `.csv` a
            table (N, D) with or without a line of names; an empty cell is NaN.

    Returns:
        An array, or a dict of arrays.

    Raises:
        ValueError: If the file is of another kind or holds no numbers.
    """
    return _read(path)[0]


def _data_for(graph, path):
    """What `read_data` returns, the columns of a table in the order that a graph learned from."""
    from kserket.core.columns import places_of

    data, header = _read(path)
    if header is None or len(graph.observations) != 1:
        return data
    ((name, observation),) = graph.observations.items()
    places = places_of(observation.columns, header, name)
    return data if places is None else data[:, places]


def _read(path):
    """What `read_data` returns, and the names of the columns of a .csv file, or None."""
    suffix = pathlib.Path(path).suffix
    if suffix == ".npy":
        return np.load(path, allow_pickle=False), None
    if suffix == ".npz":
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays), None
    if suffix == ".csv":
        return _read_csv(path)
    raise ValueError(f"Data are read from .npy, .npz or .csv files. Received: {path}")


def _read_csv(path):
    import csv

    with open(path, encoding="utf-8-sig", newline="") as file:
        rows = [row for row in csv.reader(file) if row]
    header = None
    if rows and any(_number(cell) is None for cell in rows[0]):
        header, *rows = rows
    numbers = [[_number(cell) for cell in row] for row in rows]
    for index, row in enumerate(numbers):
        if len(row) != len(numbers[0]) or None in row:
            raise ValueError(
                f"{path}: each line needs {len(numbers[0])} numbers separated by commas, as the "
                f"first has. Sample {index} is: {','.join(rows[index])[:80]}"
            )
    return np.array(numbers, dtype="float64"), header


def _number(cell):
    """The number in a cell, NaN where it is empty, None where it holds something else."""
    try:
        return float(cell) if cell.strip() else float("nan")
    except ValueError:
        return None


def write_csv(
    file: Any, answers: dict[str, Any], columns: dict[str, list[str] | None] | None = None
) -> None:
    """Answers as CSV, a line for each sample.

    Args:
        file: Open for text.
        answers: Dict from name to array (N,), whose column has that name, or (N, ...), whose
            columns are `name_0`, `name_1` and so on.
        columns: Dict from some of these names to names of the columns of an array (N, D), or None.
    """
    import csv

    names, parts = [], []
    for name, answer in answers.items():
        flat = np.reshape(answer, (len(answer), -1))
        own = (columns or {}).get(name) or [f"{name}_{j}" for j in range(flat.shape[1])]
        names += [name] if answer.ndim == 1 else own
        parts.append(flat.astype(str))
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(np.concatenate(parts, axis=1))


# serve-check ------------------------------------------------------------------------------


def _serve_check(args):
    import tensorflow as tf

    from kserket.core.loading import load_graph

    if not pathlib.Path(args.folder, "saved_model.pb").is_file():
        raise ValueError(f"{args.folder} is not what Graph.export wrote: no saved_model.pb in it.")
    signatures = tf.saved_model.load(args.folder).signatures
    if args.data is None and args.file is not None:
        raise ValueError("`--file` compares answers on samples: give them by --data.")
    graph = None if args.file is None else load_graph(args.file)
    data = None
    if args.data is not None:
        data = read_data(args.data) if graph is None else _data_for(graph, args.data)
    for name, signature in signatures.items():
        request = _request(signature, data)
        signature(**request)  # traced and warmed up
        begin = time.perf_counter()
        answers = signature(**request)
        seconds = time.perf_counter() - begin
        shapes = ", ".join(f"{key} {tuple(value.shape)}" for key, value in answers.items())
        takes = ", ".join(f"{key} {tuple(value.shape)}" for key, value in request.items())
        bad = [key for key, value in answers.items() if not np.isfinite(value.numpy()).all()]
        if bad:
            raise ValueError(f"{name} answers numbers that are not finite: {', '.join(bad)}.")
        print(f"{name}: {takes} -> {shapes} in {1000 * seconds:.1f} ms")
    if graph is not None:
        _compare(signatures["classify"], graph, args.file, data)


def _request(signature, data):
    """Tensors that a signature takes: `data` where it reads observations, else zeros."""
    import tensorflow as tf

    specs = signature.structured_input_signature[1]
    given = data if _named(data) else dict.fromkeys(specs, data)
    num_samples = 2 if data is None else len(next(iter(given.values())))
    request = {}
    for name, spec in specs.items():
        # Only what reads observations can be asked with them; `decode` takes latents.
        fits = given.get(name) is not None and np.shape(given[name])[1:] == tuple(spec.shape[1:])
        shape = [num_samples if size is None else size for size in spec.shape]
        default = np.arange(num_samples) if name.endswith("_group_idx") else np.zeros(shape)
        value = given[name] if fits else default
        request[name] = tf.cast(tf.constant(value), spec.dtype)
    return request


def _compare(classify, graph, path, data):
    """Raises ValueError unless a signature answers what the graph in a file predicts."""
    from kserket.core.export import served_names

    served = {graph.names[module]: name for module, name in served_names(graph.names).items()}
    expected = graph.predict(data, outputs=[graph.names[top] for top in graph.tops])
    request = {served.get(name, name): x for name, x in data.items()} if _named(data) else data
    answers = classify(**_request(classify, request))
    for name, own in expected.items():
        if served[name] not in answers:
            raise ValueError(f"What is served has no answer of {name}: it is of another graph.")
        difference = float(np.abs(own - answers[served[name]].numpy()).max())
        if not difference < PROBABILITY_TOLERANCE:
            raise ValueError(
                f"{name} is served otherwise than {path} predicts, by up to {difference:.2g}. "
                "Export the graph again."
            )
        print(f"{name}: as predicted, to {difference:.1g}")


def _named(data):
    return isinstance(data, dict)
