"""Every option of `rnnserve study`, defined once: name, type, limits, default and help."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter, validators

Count = Annotated[int, Parameter(validator=validators.Number(gte=1, lte=64))]
Positive = Annotated[float, Parameter(validator=validators.Number(gt=0))]

DEFAULT_SEEDS, QUICK_SEEDS = 3, 1
DEFAULT_MINUTES, QUICK_MINUTES = 48.0, 1.0


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class StudyOptions:
    """How large a study is."""

    quick: Annotated[bool, Parameter(negative=())] = False
    """Tiny sizes: shows in about two minutes that everything works, and proves nothing."""
    corpus: Path | None = None
    """UTF-8 text whose characters are learnt too, beside the default text."""
    seeds: Count | None = None
    """Fits of each kind, each with other weights and examples; 3, or 1 with --quick."""
    minutes: Positive | None = None
    """Time for all fits, at most: all budgets shrink alike to keep it; 48, or 1 with --quick."""
    workers: Count = 2
    """Processes that train side by side, one thread each: best the number of cores."""

    @property
    def seeds_each(self) -> int:
        """Fits of each kind."""
        return self.seeds or (QUICK_SEEDS if self.quick else DEFAULT_SEEDS)

    @property
    def fits_s(self) -> float:
        """Seconds for all fits together."""
        return 60 * (self.minutes or (QUICK_MINUTES if self.quick else DEFAULT_MINUTES))
