"""One import, from an ONNX file to a published version: read, decide, prove, publish."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from rnnserve.repository.config import format_config, parse_config
from rnnserve.repository.tree import GRAPH, MODEL_NAME
from rnnserve_export.foreign.errors import BadHint, Undecided
from rnnserve_export.foreign.evidence import Sure
from rnnserve_export.foreign.file import ForeignFile
from rnnserve_export.foreign.hints import read_hints
from rnnserve_export.foreign.operators import BATCH_WIDE
from rnnserve_export.foreign.options import ImportOptions, Overrules
from rnnserve_export.foreign.probe import Found, probe
from rnnserve_export.foreign.proof import Proof, prove
from rnnserve_export.foreign.reader import read_file
from rnnserve_export.foreign.reading import Reading, read
from rnnserve_export.foreign.report import as_json, show, show_fact, show_open
from rnnserve_export.foreign.serving import DEFAULT_MAX_BATCH, model_spec
from rnnserve_export.foreign.trials import CHUNKS, COMPANY, RUNS, Check
from rnnserve_export.publish import ModelFolder, Published, publish
from rnnserve_export.triton_rules import triton_problems

PROOF = "proof.json"


def import_file(
    path: Path, options: ImportOptions, overrules: Overrules, console: Console
) -> Published:
    """Publish the file as the next version of a model, or say why not.

    Raises ForeignError: the file, what isn't known of it, or the proof stands in the way;
    ExportError: the name or the repository.
    """
    file = read_file(path)
    model = ModelFolder(options.repository, _name(path, options))
    file.check()
    reading = read(file, read_hints(overrules, file))
    show(console, reading)
    if reading.questions:
        show_open(console, reading)
        first, *others = reading.questions
        raise Undecided(first + (f" (and {len(others)} more that is open)" if others else ""))
    found, proof = _prove(reading, model, options, console)
    console.print(_table(proof))
    for heading, sentence in _verdicts(reading, found, proof):
        show_fact(console, heading, sentence)
    files = {GRAPH: file.data, PROOF: _record(reading, proof)}
    published = publish(options.repository, proof.spec, files, force=options.force)
    if published.is_new:
        show_fact(console, "Triton", _in_triton(options.repository, proof.spec.name))
        _say(console, f"published {published.folder}")
    else:
        _say(console, f"{published.folder} is this very model already: nothing to publish")
    return published


def _name(path: Path, options: ImportOptions) -> str:
    name = path.stem if options.name is None else options.name
    if not MODEL_NAME.fullmatch(name):
        raise BadHint(
            f"{name!r} is no model name: letters, digits, '_', '-' and '.', at most 128, not "
            "beginning with '-' or '.'; choose one with --name"
        )
    return name


def _prove(
    reading: Reading, model: ModelFolder, options: ImportOptions, console: Console
) -> tuple[Found, Proof]:
    there = model.described()
    kept = there.max_batch if there and there.has_rows else DEFAULT_MAX_BATCH
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("looking at shapes", total=RUNS)
        found = probe(reading)
        spec = model_spec(reading, found, model.path.name, options.max_batch or kept)

        def show_run(name: str) -> None:
            bar.update(task, description=f"proving: {name or 'numbers'}", advance=1)

        # A configuration that the server wouldn't read is never published.
        parse_config(format_config(spec), spec.name, spec.version)
        return found, prove(spec, reading.file.data, found.length, show_run)


def _table(proof: Proof) -> Table:
    table = Table("in onnxruntime, as when serving", box=None, pad_edge=False)
    table.add_column("largest error", justify="right")
    table.add_column("tolerance", justify="right")
    table.add_column("")
    for check in proof.checks:
        table.add_row(
            Text(f"{check.name}: {check.case}"),
            "" if check.failure else f"{check.error:.1e}",
            "" if check.failure else f"{check.tolerance:.1e}",
            Text("holds", "green") if check.holds else Text("doesn't", "yellow"),
        )
    return table


def _verdicts(reading: Reading, found: Found, proof: Proof) -> Iterator[tuple[str, str]]:
    """What follows from the proof, in words."""
    failed = {check.name: check for check in proof.checks if not check.holds}
    spec = proof.spec
    if not spec.has_rows:
        yield "rows", f"one at a time: {found.rows.why}"
    elif COMPANY in failed:
        why = _shared_scale(reading.file) or "they influence each other"
        yield "rows", f"one at a time: {why} ({failed[COMPANY].reason})"
    elif found.why_alone:
        yield "rows", f"one at a time: {found.why_alone}"
    else:
        yield "rows", f"up to {spec.max_batch} share a run"
    if spec.has_time:
        yield "time", "a chunk may be cut anywhere"
    elif not spec.is_sequential:
        yield "time", "there is no state, so each request stands alone"
    elif CHUNKS in failed:
        yield "time", f"each step is a run of its own: {_unlike_chunks(reading, failed[CHUNKS])}"
    else:
        yield "time", f"each step is a run of its own: {_no_time(reading)}"
    for entry in spec.carry:
        if not entry.is_fixed:
            yield (
                "state",
                f"{entry.input_name} has no fixed size; a session begins with zeros of the "
                f"shape {list(entry.begins_as)}",
            )


def _no_time(reading: Reading) -> str:
    if reading.time.is_possible:
        return "what comes out has no axis that is as long as what goes in"
    return reading.time.why


def _shared_scale(file: ForeignFile) -> str:
    names = sorted({name for _, name in file.operators} & BATCH_WIDE)
    return f"{', '.join(names)} takes one scale over the whole batch" if names else ""


def _unlike_chunks(reading: Reading, check: Check) -> str:
    unsure = [pair for pair in reading.pairs if pair.sure < Sure.CERTAIN]
    doubt = "".join(f"; or {p.input}:{p.output}, which is {p.sure}, is wrong" for p in unsure)
    return f"chunks give something else than the whole ({check.reason}){doubt}"


def _record(reading: Reading, proof: Proof) -> bytes:
    """`proof.json`: what the file was taken for, and what was proved with which libraries."""
    contents = {
        "reading": as_json(reading),
        "checks": [asdict(check) | {"holds": check.holds} for check in proof.checks],
        "made_with": {name: version(name) for name in ("onnx", "onnxruntime")},
    }
    return (json.dumps(contents, indent=2) + "\n").encode()


def _in_triton(repository: Path, name: str) -> str:
    problems = triton_problems(repository, name)
    if not problems:
        return "could serve it too"
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return f"could not serve it: {problems[0]}{more}"


def _say(console: Console, sentence: str) -> None:
    """One plain line, never wrapped and never coloured."""
    console.print(sentence, soft_wrap=True, highlight=False, markup=False)
