"""A Dockerfile as its stages of instructions: as much of the format as ours uses."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from deploy.cluster.manifests import ROOT

PAIR = re.compile(r'(\S+?)=(?:"([^"]*)"|(\S+))')


@dataclass(frozen=True)
class Dockerfile:
    """Stages, first to last; an instruction is its word and the rest, with lines joined."""

    stages: tuple[tuple[tuple[str, str], ...], ...]

    def all_of(self, word: str, stage: int = -1) -> list[str]:
        """The rest of every instruction with this word, in a stage."""
        return [rest for found, rest in self.stages[stage] if found == word]

    def one(self, word: str) -> str:
        """The rest of the only such instruction in the last stage."""
        (rest,) = self.all_of(word)
        return rest

    def command(self, word: str) -> list[str]:
        """The same for ENTRYPOINT and CMD, which are JSON."""
        command = json.loads(self.one(word))
        assert isinstance(command, list)
        return command

    @property
    def environment(self) -> dict[str, str]:
        """ENV of the last stage."""
        pairs = (pair for rest in self.all_of("ENV") for pair in PAIR.finditer(rest))
        return {pair[1]: pair[2] if pair[2] is not None else pair[3] for pair in pairs}


def parse(text: str) -> Dockerfile:
    """Comments are left out, wherever they stand."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    instructions = [tuple(line.split(maxsplit=1)) for line in joined.splitlines() if line.strip()]
    begins = [place for place, (word, _) in enumerate(instructions) if word == "FROM"]
    ends = [*begins[1:], len(instructions)]
    return Dockerfile(tuple(tuple(instructions[a:b]) for a, b in zip(begins, ends, strict=True)))


def ours() -> Dockerfile:
    """The server's."""
    return parse(Path(ROOT, "deploy", "Dockerfile").read_text())
