"""What is to be published, before it is proved; and the way from there."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from rnnserve.repository.spec import ModelSpec
from rnnserve.repository.tree import GRAPH
from rnnserve_export.feed import Feed
from rnnserve_export.golden import golden_vectors
from rnnserve_export.parity import Compute
from rnnserve_export.proof import Proof, prove
from rnnserve_export.publish import ModelFolder, Published, publish, renew_config
from rnnserve_export.torch_model import TorchModel

GOLDEN = "golden.npz"
PROOF = "proof.json"


@dataclass(frozen=True)
class Candidate:
    """A graph, what it has to compute, and what lies beside it."""

    model: TorchModel
    graph: bytes
    feed: Feed
    exact: Compute
    """What the golden vectors come from."""
    exact_source: str
    files: Mapping[str, bytes]
    """By name; a tokenizer belongs to what the model is, the others only go along."""

    @property
    def spec(self) -> ModelSpec:
        return self.feed.spec


def release(candidate: Candidate, repository: Path, *, force: bool, console: Console) -> Published:
    """Prove and publish, or say that this very model is published already.

    Raises ProofFailed, OtherInterface and PublishError; nothing is published then.
    """
    spec = candidate.spec
    model = ModelFolder(repository, spec.name)
    files = {GRAPH: candidate.graph, **candidate.files}
    if not force and (there := model.find(files)):
        _say(console, f"{there.folder} is this very model already: nothing to publish")
        if renew_config(model, spec):
            _say(console, f"{model.config} now allows {spec.max_batch} rows in a batch")
        return there
    proof, golden = _prove(candidate, console)
    console.print(_table(proof))
    files |= {GOLDEN: golden, PROOF: proof.to_json().encode()}
    published = publish(repository, spec, files, force=force)
    _say(console, f"published {published.folder}")
    return published


def _prove(candidate: Candidate, console: Console) -> tuple[Proof, bytes]:
    """The proof, and the bytes of the golden vectors. Raises ProofFailed."""
    golden = golden_vectors(candidate.exact, candidate.exact_source, candidate.feed)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("proving", total=None)

        def show(name: str, done: int, total: int) -> None:
            bar.update(task, description=f"proving: {name}", completed=done, total=total)

        proof = prove(candidate.model, candidate.graph, candidate.feed, golden, on_steps=show)
    return proof, golden.to_npz(candidate.spec, proof.checks[-1].tolerance)


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
