"""One export from a finished run to a published version: draw, prove, publish."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from rnnserve.errors import ModelProblem
from rnnserve.repository.spec import ModelSpec
from rnnserve.repository.tokenizer import Tokenizer
from rnnserve.repository.tree import CARD, GRAPH, MODEL_NAME, TOKENIZER
from rnnserve_export.cases import CHAIN_STEPS
from rnnserve_export.errors import ExportError
from rnnserve_export.golden import golden_vectors
from rnnserve_export.graph import build_graph
from rnnserve_export.interface import DEFAULT_MAX_BATCH, model_spec
from rnnserve_export.options import ExportOptions
from rnnserve_export.proof import Proof, prove
from rnnserve_export.publish import ModelFolder, Published, publish, renew_config
from rnnserve_models.checkpoint import Run, RunFiles, load_run

GOLDEN = "golden.npz"
PROOF = "proof.json"
TEXT_CHARACTERS = 4 * CHAIN_STEPS


@dataclass(frozen=True)
class Export:
    """What is to be published, before it is proved."""

    run: Run
    spec: ModelSpec
    graph: bytes
    tokenizer_json: bytes
    text: np.ndarray
    """Tokens (K,) of text that the model wasn't trained on."""

    @property
    def identity(self) -> dict[str, bytes]:
        """The files that make it this model and no other."""
        return {GRAPH: self.graph, TOKENIZER: self.tokenizer_json}


def export_run(run_folder: Path, options: ExportOptions, console: Console) -> Published:
    """Export the run, or say that its model is published already.

    Raises ExportError: the name, the proof or the repository stands in the way. TrainingError:
    there is no finished run.
    """
    run = load_run(run_folder)
    model = ModelFolder(options.repository, _name(run_folder, options))
    export = _draw(run, model, options)
    if not options.force and (there := model.find(export.identity)):
        _say(console, f"{there.folder} is this very model already: nothing to publish")
        if renew_config(model, export.spec):
            _say(console, f"{model.config} now allows {export.spec.max_batch} rows in a batch")
        return there
    proof, golden = _prove(export, console)
    console.print(_table(proof))
    files = export.identity | {GOLDEN: golden, PROOF: proof.to_json().encode()} | _records(run)
    published = publish(options.repository, export.spec, files, force=options.force)
    _say(console, f"published {published.folder}")
    return published


def _name(run_folder: Path, options: ExportOptions) -> str:
    name = run_folder.resolve().name if options.name is None else options.name
    if not MODEL_NAME.fullmatch(name):
        raise ExportError(
            f"{name!r} is no model name: letters, digits, '_', '-' and '.', at most 128, not "
            "beginning with '-' or '.'; choose one with --name"
        )
    return name


def _draw(run: Run, model: ModelFolder, options: ExportOptions) -> Export:
    """The graph and what goes with it, checked against what the repository holds."""
    there = model.described()
    kept = there.max_batch if there else DEFAULT_MAX_BATCH
    spec = model_spec(run.model, model.path.name, max_batch=options.max_batch or kept)
    model.check_interface(spec)
    tokenizer_json = run.tokenizer.read_bytes()
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
        text = np.array(tokenizer.encode(file.read(TEXT_CHARACTERS)) or [0], np.int64)
    return Export(run, spec, build_graph(run.model), tokenizer_json, text)


def _prove(export: Export, console: Console) -> tuple[Proof, bytes]:
    """The proof, and the bytes of the golden vectors. Raises ProofFailed."""
    golden = golden_vectors(export.run.model, export.spec, export.text)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("proving", total=None)

        def show(name: str, done: int, total: int) -> None:
            bar.update(task, description=f"proving: {name}", completed=done, total=total)

        proof = prove(
            export.run.model, export.spec, export.graph, export.text, golden, on_steps=show
        )
    return proof, golden.to_npz(export.spec, proof.checks[-1].tolerance)


def _records(run: Run) -> dict[str, bytes]:
    """The training card and the curve, those that the run has."""
    files = RunFiles(run.path)
    named = {CARD: files.card, "card.md": files.readable_card, "curve.png": files.curve}
    return {name: path.read_bytes() for name, path in named.items() if path.is_file()}


def _table(proof: Proof) -> Table:
    table = Table("torch against the graph", box=None, pad_edge=False)
    table.add_column("largest error", justify="right")
    table.add_column("tolerance", justify="right")
    for check in proof.checks:
        table.add_row(check.name, f"{check.relative_error:.1e}", f"{check.tolerance:.1e}")
    return table


def _say(console: Console, sentence: str) -> None:
    """One plain line, never wrapped and never coloured."""
    console.print(sentence, soft_wrap=True, highlight=False, markup=False)
