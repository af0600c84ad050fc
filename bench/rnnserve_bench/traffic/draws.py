"""What varies from message to message: how long a chunk is, and how long its client thinks."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from rnnserve_bench.errors import BenchProblem

ThinkLaw = Literal["exponential", "fixed"]


@dataclass(frozen=True)
class Lengths:
    """Steps in a chunk: each of `choices` is as likely as every other."""

    choices: tuple[int, ...]

    @classmethod
    def parse(cls, text: str) -> "Lengths":
        """`64`; `1,1,1,64`: three of four are single steps; `1..16`: all of these alike.

        Raises BenchProblem for any other text.
        """
        try:
            choices: list[int] = []
            for part in text.split(","):
                low, _, high = part.partition("..")
                choices += range(int(low), int(high or low) + 1)
        except ValueError:
            choices = []
        if not choices or min(choices) < 1:
            raise BenchProblem(f"--chunk {text}: say 64, or 1,1,1,64, or 1..16; each at least 1")
        return cls(tuple(choices))

    def draw(self, rng: np.random.Generator) -> int:
        if len(self.choices) == 1:
            return self.choices[0]
        return self.choices[int(rng.random() * len(self.choices))]


@dataclass(frozen=True)
class Think:
    """Time between an answer and the next message of the same session."""

    mean_s: float = 0.0
    law: ThinkLaw = "exponential"

    def draw(self, rng: np.random.Generator) -> float:
        if not self.mean_s or self.law == "fixed":
            return self.mean_s
        return float(rng.exponential(self.mean_s))
