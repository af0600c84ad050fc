"""From a finished training run to a published version."""

from pathlib import Path

import numpy as np
from rich.console import Console

from rnnserve.errors import ModelProblem
from rnnserve.repository.tokenizer import Tokenizer
from rnnserve.repository.tree import CARD, TOKENIZER
from rnnserve_export.candidate import Candidate, release
from rnnserve_export.cases import CHAIN_STEPS
from rnnserve_export.errors import ExportError
from rnnserve_export.graph import build_graph
from rnnserve_export.interface import (
    DEFAULT_MAX_BATCH,
    model_spec,
    reference_answers,
    text_feed,
    torch_model,
)
from rnnserve_export.options import ExportOptions
from rnnserve_export.publish import ModelFolder, Published, checked_name
from rnnserve_models.checkpoint import Run, RunFiles, load_run

TEXT_CHARACTERS = 4 * CHAIN_STEPS


def export_run(run_folder: Path, options: ExportOptions, console: Console) -> Published:
    """Export the run, or say that its model is published already.

    Raises ExportError: the name, the proof or the repository stands in the way. TrainingError:
    there is no finished run.
    """
    run = load_run(run_folder)
    name = run_folder.resolve().name if options.name is None else options.name
    model = ModelFolder(options.repository, checked_name(name, "choose one with --name"))
    candidate = _draw(run, model, options)
    return release(candidate, options.repository, force=options.force, console=console)


def _draw(run: Run, model: ModelFolder, options: ExportOptions) -> Candidate:
    """The graph and what goes with it, checked against what the repository holds."""
    there = model.described()
    kept = there.max_batch if there else DEFAULT_MAX_BATCH
    spec = model_spec(run.model, model.path.name, max_batch=options.max_batch or kept)
    model.check_interface(spec)
    tokenizer_json = run.tokenizer.read_bytes()
    text = _text(run, tokenizer_json)
    return Candidate(
        torch_model(run.model),
        build_graph(run.model),
        text_feed(spec, text),
        reference_answers(run.model),
        "NumPy, float64",
        {TOKENIZER: tokenizer_json} | _records(run),
    )


def _text(run: Run, tokenizer_json: bytes) -> np.ndarray:
    """Tokens (K,) of text that the model wasn't trained on. Raises ExportError: the tokenizer isn't
    this model's."""
    try:
        tokenizer = Tokenizer(tokenizer_json.decode("utf-8"))
    except (ModelProblem, UnicodeDecodeError) as error:
        raise ExportError(f"{run.tokenizer} can't be read: {error}; train the run again") from None
    if tokenizer.vocabulary_size != run.model.shape.vocabulary:
        raise ExportError(
            f"{run.tokenizer} has {tokenizer.vocabulary_size} tokens, the model "
            f"{run.model.shape.vocabulary}: they aren't of the same run"
        )
    with run.validation.open(encoding="utf-8", newline="") as file:
        return np.array(tokenizer.encode(file.read(TEXT_CHARACTERS)) or [0], np.int64)


def _records(run: Run) -> dict[str, bytes]:
    """The training card and the curve, those that the run has."""
    files = RunFiles(run.path)
    named = {CARD: files.card, "card.md": files.readable_card, "curve.png": files.curve}
    return {name: path.read_bytes() for name, path in named.items() if path.is_file()}
