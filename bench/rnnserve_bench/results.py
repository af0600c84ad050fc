"""A run's results: all samples and what they were taken with, as JSON."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rnnserve_bench.contest import Outcome
from rnnserve_bench.sample import Sample

FILE = "results.json"


@dataclass(frozen=True)
class Results:
    """Everything that the report is written from."""

    command: str
    settings: dict[str, float]
    machine: dict[str, str]
    versions: dict[str, str]
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    checks: dict[str, float] = field(default_factory=dict)
    """Largest difference of the logits served from those of the graph run alone."""
    echo_method: str = ""
    """How the bare wire's handler was written."""
    client: str = ""
    """Which client made the load."""

    def save(self, folder: Path) -> None:
        """Write the file into the folder, made if there is none."""
        folder.mkdir(parents=True, exist_ok=True)
        data = asdict(self)
        # The raw samples, one a line, so that two runs can be compared by eye.
        text = json.dumps(data, indent=1)
        (folder / FILE).write_text(text + "\n")

    @classmethod
    def load(cls, folder: Path) -> "Results":
        """What `save` wrote."""
        data: dict[str, Any] = json.loads((folder / FILE).read_text())
        outcomes = {}
        for name, entry in data["outcomes"].items():
            samples = {
                contestant: [Sample.from_dict(sample) for sample in found]
                for contestant, found in entry["samples"].items()
            }
            outcomes[name] = Outcome(name, entry["title"], samples, entry["missing"])
        return cls(**{**data, "outcomes": outcomes})
