"""`rnnserve export`: the command line's door to this room."""

from __future__ import annotations

from pathlib import Path

from rnnserve_export.options import ExportOptions

_DEFAULTS = ExportOptions()


def export(run: Path, /, *, options: ExportOptions = _DEFAULTS) -> None:
    """Publish the trained model in the directory RUN as the next version in a repository.

    The ONNX graph has to prove first that it computes what was trained: torch, onnxruntime and
    plain NumPy must agree. A model that is published already is left as it is.

    Parameters
    ----------
    run
        Directory of a finished run.
    """
    # torch takes seconds to load, and a page of help or a wrong option should not wait for it.
    from rich.console import Console

    from rnnserve_export.exporting import export_run

    export_run(run, options, Console())
