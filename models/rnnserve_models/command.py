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
    # How long a thread spins before it sleeps: too long, and training is several times slower as
    # soon as anything else wants a core; not at all, and a second thread brings nothing. OpenMP
    # reads it when torch is loaded; the figures are in EXPERIMENTS.md.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    # torch takes seconds to load, and a page of help or a wrong option should not wait for it.
    from rich.console import Console

    from rnnserve_models.interruption import Interrupted
    from rnnserve_models.training import train_run

    try:
        train_run(run, options, Console())
    except Interrupted as interrupted:
        raise SystemExit(interrupted.exit_code) from None
