"""The models that are measured: language models with random weights.

What a step costs depends on the shapes alone, so nothing is trained.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rnnserve_models.language_model import LanguageModel

VOCABULARY = 96
EMBEDDING = 64
GRAPH, FACTS = "model.onnx", "facts.json"


@dataclass(frozen=True)
class BenchModel:
    """A shape, by the name it is served under."""

    cell: str
    layers: int
    hidden: int

    @property
    def name(self) -> str:
        return f"{self.cell}-{self.layers}x{self.hidden}"

    @property
    def title(self) -> str:
        return f"{self.cell.upper()} {self.layers} x {self.hidden}"


MAIN = BenchModel("lstm", 2, 256)
"""The one with targets."""
TABLE = (
    BenchModel("lstm", 1, 128),
    MAIN,
    BenchModel("lstm", 2, 512),
    BenchModel("lstm", 3, 1024),
    BenchModel("gru", 2, 256),
)
PUBLISHED = (
    BenchModel("lstm", 2, 128),
    BenchModel("lstm", 3, 256),
    BenchModel("lstm", 3, 480),
    BenchModel("lstm", 3, 960),
)
"""Shapes for which audited times on streaming hardware are published."""


@dataclass(frozen=True)
class GraphFacts:
    """What it takes to run a graph without the server; lies beside it as JSON."""

    carry: tuple[tuple[str, str, tuple[int, ...]], ...]
    """Each entry's input name, output name and row shape; float32."""
    carry_bytes: int
    vocabulary: int
    tokens: str
    logits: str

    @classmethod
    def read(cls, folder: Path) -> "GraphFacts":
        data = json.loads((folder / FACTS).read_text())
        data["carry"] = tuple((a, b, tuple(shape)) for a, b, shape in data["carry"])
        return cls(**data)


def version_folder(root: Path, model: BenchModel) -> Path:
    """Where a model's graph lies; each has a repository of its own."""
    return repository_of(root, model) / model.name / "1"


def repository_of(root: Path, model: BenchModel) -> Path:
    """The repository that serves this model and no other."""
    return root / model.name


def torch_model(model: BenchModel) -> "LanguageModel":
    """The model in torch; its weights follow from its name."""
    # Here and below: torch takes seconds to load, and few processes need it.
    import torch

    from rnnserve_models.language_model import LanguageModel, ModelShape

    torch.manual_seed(sum(model.name.encode()))
    shape = ModelShape(
        cell=model.cell,
        vocabulary=VOCABULARY,
        embedding=EMBEDDING,
        hidden=model.hidden,
        layers=model.layers,
    )
    return LanguageModel(shape).eval()


def build(root: Path, model: BenchModel) -> None:
    """Publish a model under `root`, unless it is there."""
    folder = version_folder(root, model)
    if (folder / FACTS).exists():
        return
    from rnnserve.repository.config import format_config
    from rnnserve_export.graph import build_graph
    from rnnserve_export.interface import model_spec
    from rnnserve_models.tokenizer import character_tokenizer

    made = torch_model(model)
    spec = model_spec(made, model.name)
    folder.mkdir(parents=True, exist_ok=True)
    (folder.parent / "config.pbtxt").write_text(format_config(spec))
    (folder / GRAPH).write_bytes(build_graph(made))
    # One token stands for what is unknown: 95 printable characters and that one.
    characters = "".join(map(chr, range(32, 32 + VOCABULARY - 1)))
    character_tokenizer(characters).save(str(folder / "tokenizer.json"))
    (folder / "card.json").write_text(json.dumps({"model": model.name}))
    facts = GraphFacts(
        carry=tuple((c.input_name, c.output_name, c.shape) for c in spec.carry),
        carry_bytes=spec.carry_bytes,
        vocabulary=VOCABULARY,
        tokens=spec.inputs[0].name,
        logits=spec.outputs[0].name,
    )
    (folder / FACTS).write_text(json.dumps(asdict(facts)))
