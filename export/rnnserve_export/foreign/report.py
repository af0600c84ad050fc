"""What was found in a file: tables for people, data for programs, and the command that follows."""

import shlex
from collections.abc import Iterator
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rnnserve_export.foreign.evidence import Sure
from rnnserve_export.foreign.file import ForeignFile, Tensor
from rnnserve_export.foreign.operators import RANDOM
from rnnserve_export.foreign.reading import Reading, Role, example

STYLES = {Sure.CERTAIN: "green", Sure.LIKELY: "yellow", Sure.GUESS: "red"}


def show(console: Console, reading: Reading) -> None:
    """What the file has and what it is taken for, for people."""
    file = reading.file
    console.print(Text(str(file.path), "bold"))
    console.print(Text(_made_of(file)))
    console.print(_tensors(reading))
    if reading.pairs:
        console.print(_pairs(reading))
    if random := sorted({name for _, name in file.operators} & RANDOM):
        text = f"it has {', '.join(random)}: what depends on them can't be served"
        show_fact(console, "chance", text)


def show_open(console: Console, reading: Reading) -> None:
    """What else follows from the file, what stands in the way, and what isn't known."""
    for heading, text in _facts(reading):
        show_fact(console, heading, text)


def show_fact(console: Console, heading: str, text: str) -> None:
    """One sentence under its heading."""
    line = Table.grid(padding=(0, 1))
    line.add_column(width=9)
    line.add_row(Text(heading, "bold"), Text(text))
    console.print(line)


def show_command(console: Console, reading: Reading) -> None:
    """The `rnnserve import` that would follow, on a line that can be copied."""
    console.print()
    console.print(Text("To import it:"))
    console.print(import_command(reading), soft_wrap=True, highlight=False, markup=False)


def import_command(reading: Reading) -> str:
    """With an option for each thing that is said or open; words in capitals are to be filled in."""
    words = ["rnnserve", "import", str(reading.file.path)]
    guesses = [pair for pair in reading.pairs if pair.sure is Sure.GUESS]
    for one, other in (*reading.hints.states.items(), *((p.input, p.output) for p in guesses)):
        words += ["--state", f"{one}:{other}"]
    for tensor in reading.inputs_that_are(Role.CONSTANT):
        value = reading.hints.constants.get(tensor.name, example(tensor))
        words += ["--constant", f"{tensor.name}={value}"]
    for name in sorted(reading.hints.data):
        words += ["--data", name]
    for name in sorted(reading.hints.once):
        words += ["--once", name]
    for name, axis in reading.hints.batch_axes.items():
        words += ["--batch-axis", f"{name}={axis}"]
    for name, lengths in reading.hints.dims.items():
        words += ["--dims", f"{name}={list(lengths)}"]
    return shlex.join(words)


def as_json(reading: Reading) -> dict[str, Any]:
    """Plain data, for programs."""
    file = reading.file
    nexts = {pair.output: pair.input for pair in reading.pairs}
    return {
        "file": str(file.path),
        "bytes": len(file.data),
        "weight_bytes": file.weight_bytes,
        "opset": file.opset,
        "ir_version": file.model.ir_version,
        "producer": file.model.producer_name,
        "operators": sum(file.operators.values()),
        "custom_domains": list(file.custom_domains),
        "external_files": list(file.external),
        "problems": list(file.problems),
        "inputs": [
            _tensor_json(tensor, reading) | {"taken_for": reading.roles[tensor.name].value}
            for tensor in file.inputs
        ],
        "outputs": [
            _tensor_json(tensor, reading) | {"next_of": nexts.get(tensor.name)}
            for tensor in file.outputs
        ],
        "states": [
            {"in": pair.input, "out": pair.output, "sure": str(pair.sure), "why": list(pair.why)}
            for pair in reading.pairs
        ],
        "rows": {"possible": bool(reading.rows), "why": reading.rows.why or reading.rows.question},
        "time": {"possible": reading.time.is_possible, "why": reading.time.why},
        "questions": list(reading.questions),
        "import": import_command(reading),
    }


def _tensor_json(tensor: Tensor, reading: Reading) -> dict[str, Any]:
    return {
        "name": tensor.name,
        "type": tensor.type_name,
        "shape": None if tensor.dims is None else list(tensor.dims),
        "batch_axis": reading.rows.axes.get(tensor.name),
        "table_rows": reading.ranges.get(tensor.name),
    }


def _made_of(file: ForeignFile) -> str:
    maker = f", made by {file.model.producer_name}" if file.model.producer_name else ""
    return (
        f"{size(len(file.data))}, {sum(file.operators.values()):,} operators of opset "
        f"{file.opset}, IR version {file.model.ir_version}{maker}"
    )


def _tensors(reading: Reading) -> Table:
    table = Table("", "tensor", "type", "shape", "rows", "taken for", box=box.SIMPLE_HEAD)
    nexts = {pair.output: pair.input for pair in reading.pairs}
    results = {tensor.name for tensor in reading.results}
    for tensor in reading.file.inputs:
        use = reading.roles[tensor.name].value
        if tensor.name in reading.ranges:
            use += f", 0 to {reading.ranges[tensor.name] - 1:,}"
        elif tensor.name in reading.hints.constants:
            use += f" {reading.hints.constants[tensor.name]}"
        table.add_row("in", *_cells(tensor, reading), Text(use))
    for place, tensor in enumerate(reading.file.outputs):
        uses = [f"next {nexts[tensor.name]}"] if tensor.name in nexts else []
        uses += ["result"] if tensor.name in results else []
        table.add_row("out", *_cells(tensor, reading), Text(" and ".join(uses)))
        if place == 0:
            table.rows[-2].end_section = True
    return table


def _cells(tensor: Tensor, reading: Reading) -> tuple[Text, Text, Text, Text]:
    axis = reading.rows.axes.get(tensor.name)
    where = "" if axis is None else f"axis {axis}"
    return (
        Text(tensor.name, overflow="fold"),
        Text(tensor.type_name),
        Text(tensor.shape),
        Text(where, no_wrap=True),
    )


def _pairs(reading: Reading) -> Table:
    table = Table("state", "is next", "sure", "because", box=box.SIMPLE_HEAD)
    for pair in reading.pairs:
        table.add_row(
            Text(pair.input, overflow="fold"),
            Text(pair.output, overflow="fold"),
            Text(str(pair.sure), STYLES[pair.sure], no_wrap=True),
            Text("; ".join(pair.why)),
        )
    return table


def _facts(reading: Reading) -> Iterator[tuple[str, str]]:
    if reading.rows:
        yield "rows", f"can share a run: {reading.rows.why}"
    elif reading.rows.question:
        yield "rows", "not known"
    else:
        yield "rows", f"run one at a time: {reading.rows.why}"
    if reading.time.is_possible:
        yield "time", f"can be the axis behind the rows: {reading.time.why}"
    else:
        yield "time", f"is no axis, each step is a run of its own: {reading.time.why}"
    for problem in reading.file.problems:
        yield "problem", problem
    for question in reading.questions:
        yield "open", question


def size(count: int) -> str:
    """Bytes, for people."""
    for unit, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if count >= unit:
            return f"{count / unit:.1f} {name}"
    return f"{count} bytes"
