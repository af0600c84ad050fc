"""`rnnserve train`: the command line's door to this room."""

from __future__ import annotations

import os
from pathlib import Path

from rnnserve_models.options import TrainOptions

_DEFAULTS = TrainOptions()


def train(run: Path, /, *, options: TrainOptions = _DEFAULTS) -> None:
    """Train a character-level model and leave it in the directory RUN.

    The directory holds the checkpoint, the tokenizer, the training card, the learning curve and the
    validation text. Ctrl-C saves and stops; --resume goes on as if nothing had happened. A run that
    is finished is left as it is.

    Parameters
    ----------
    run
        Directory of the run; made if there is none.
    """
    # Threads that spin while they wait make training ten times slower as soon as anything else
    # wants a core; torch reads this when it is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # torch takes seconds to load, and a page of help or a wrong option should not wait for it.
    from rich.console import Console

    from rnnserve_models.interruption import Interrupted
    from rnnserve_models.training import train_run

    try:
        train_run(run, options, Console())
    except Interrupted as interrupted:
        raise SystemExit(interrupted.exit_code) from None
