"""`rnnserve study`: learning and serving meet here, because neither room may know the other."""

from __future__ import annotations

from pathlib import Path

from rnnserve_models.study.options import StudyOptions

_DEFAULTS = StudyOptions()
_FOLDER = Path("study")


def study(folder: Path = _FOLDER, /, *, options: StudyOptions = _DEFAULTS) -> None:
    """Compare RNN, LSTM, GRU, TCN, attention and minGRU, and write FOLDER/report.md.

    Each is trained at equal size on the same tasks with the same budget and several seeds: adding
    and copying over growing lengths, digits pixel by pixel, and text; then the cost of serving it
    is measured. Ctrl-C stops, and the same command goes on without doing again what is done.

    Parameters
    ----------
    folder
        Directory of the study; made if there is none.
    """
    # torch takes seconds to load, and a page of help or a wrong option should not wait for it.
    from rich.console import Console

    from rnnserve_export.serving_cost import measure
    from rnnserve_models.interruption import Interrupted
    from rnnserve_models.study.running import run_study

    try:
        run_study(folder, options, measure, Console())
    except Interrupted as interrupted:
        raise SystemExit(interrupted.exit_code) from None
