"""One look at an ONNX file, from its path to the report."""

import json
from pathlib import Path

from rich.console import Console

from rnnserve_export.foreign.hints import read_hints
from rnnserve_export.foreign.options import InspectOptions, Overrules
from rnnserve_export.foreign.reader import read_file
from rnnserve_export.foreign.reading import Reading, read
from rnnserve_export.foreign.report import as_json, show, show_command, show_open


def inspect_file(
    path: Path, options: InspectOptions, overrules: Overrules, console: Console
) -> Reading:
    """Read the file and say what it is taken for. Raises ForeignError."""
    file = read_file(path)
    reading = read(file, read_hints(overrules, file))
    if options.json:
        console.out(json.dumps(as_json(reading), indent=2), highlight=False)
        return reading
    show(console, reading)
    show_open(console, reading)
    if not file.problems:
        show_command(console, reading)
    return reading
