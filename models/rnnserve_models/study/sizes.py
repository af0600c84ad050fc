"""How large a study is: which lengths, how many parameters and updates; and so its fits.

The sizes were chosen before the first whole run, from the speed and the published difficulty of the
tasks, and not again after it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from rnnserve_models.cell_options import KERNEL
from rnnserve_models.language_model import LanguageModel, ModelShape
from rnnserve_models.parameters import hidden_for
from rnnserve_models.study.fit import CHARACTERS, Fit, Recipe
from rnnserve_models.study.network import Network
from rnnserve_models.study.tasks import tasks
from rnnserve_models.study.variants import (
    ARCHITECTURES,
    FOR_CLIPPING,
    FOR_MEMORY,
    VARIANTS,
    Variant,
)

EMBEDDING = 32
TEXT_SEEDS = 2
"""At most: a language model takes as long as many other fits."""
TEXT_MEMORY_STEPS = 128
"""How far back TCN and attention are to reach in language modelling."""
HEADS = 2
"""Of attention on short sequences of few units, where four take twice as long to train."""
LAYERS = {"rnn": 1, "lstm": 1, "gru": 1, "attention": 2, "mingru": 2}
"""A layer of attention or minGRU computes less than one of the others: they have two."""


@dataclass(frozen=True)
class TaskSize:
    """How large a task is.

    Attributes:
        lengths: every T.
        parameters: of the whole model, whatever the architecture, as nearly as whole widths allow.
        steps: the most updates of a fit.
    """

    lengths: tuple[int, ...]
    parameters: int
    steps: int


@dataclass(frozen=True)
class Size:
    """How large a study is.

    Attributes:
        recipe: how everything is trained.
        tasks: by name; a text of one's own is of the size of CHARACTERS.
        gradient_length: the T of the adding problem at which gradients and clipping are looked at.
        serving_s: the time to measure the cost of serving in.
        windows: of attention, those whose cost is measured beside that of its own.
        histories: the numbers of steps taken before a step whose cost is measured.
        timed_s: the time to measure an update of each kind in, before the plan is made.
    """

    recipe: Recipe
    tasks: Mapping[str, TaskSize]
    gradient_length: int
    serving_s: float
    windows: tuple[int, ...]
    histories: tuple[int, ...]
    timed_s: float


FULL = Size(
    Recipe(),
    {
        "adding": TaskSize((25, 50, 100, 200), 16_000, 1_000),
        "copy": TaskSize((25, 50, 100, 200), 16_000, 1_000),
        "digits": TaskSize((64,), 16_000, 600),
        "permuted": TaskSize((64,), 16_000, 600),
        CHARACTERS: TaskSize((64,), 100_000, 2_000),
    },
    gradient_length=100,
    serving_s=150.0,
    windows=(32, 64, 256, 512),
    histories=(1, 4, 16, 64, 256, 1024),
    timed_s=0.3,
)
QUICK = Size(
    Recipe(evaluations=4, scored_characters=2_000),
    {
        "adding": TaskSize((5, 10), 1_000, 40),
        "copy": TaskSize((3, 6), 1_000, 40),
        "digits": TaskSize((64,), 1_000, 10),
        "permuted": TaskSize((64,), 1_000, 10),
        CHARACTERS: TaskSize((16,), 8_000, 12),
    },
    gradient_length=10,
    serving_s=5.0,
    windows=(),
    histories=(1, 16),
    timed_s=0.02,
)


def all_fits(size: Size, seeds: int, vocabularies: Mapping[str, int]) -> Iterator[Fit]:
    """Every fit of a study, with the size's own numbers of updates.

    `vocabularies`: of the texts to learn, by task (CHARACTERS, FILE).
    """
    for seed in range(seeds):
        for name, task in size.tasks.items():
            if name == CHARACTERS:
                continue
            for length in task.lengths:
                for variant in _variants(size, name, length):
                    yield sequence_fit(name, length, variant, seed, task)
        if seed >= TEXT_SEEDS:
            continue
        for name, vocabulary in vocabularies.items():
            for variant in ARCHITECTURES:
                yield text_fit(name, variant, seed, size.tasks[CHARACTERS], vocabulary)


def _variants(size: Size, task: str, length: int) -> tuple[Variant, ...]:
    looked_at = task == "adding" and length == size.gradient_length
    return (*FOR_MEMORY, *FOR_CLIPPING) if looked_at else FOR_MEMORY


def sequence_fit(name: str, length: int, variant: Variant, seed: int, size: TaskSize) -> Fit:
    """A fit on sequences made for it; TCN and attention reach back over all of a sequence."""
    task = tasks()[name](length)
    layers, own_options = _reaching(variant.cell, task.steps)
    if variant.cell == "attention":
        own_options["heads"] = HEADS

    def fit(hidden: int) -> Fit:
        return Fit(
            task=name,
            length=length,
            variant=variant.name,
            seed=seed,
            hidden=hidden,
            layers=layers,
            own_options=own_options,
            steps=size.steps,
        )

    return fit(hidden_for(size.parameters, lambda hidden: Network(fit(hidden), task)))


def text_fit(name: str, variant: Variant, seed: int, size: TaskSize, vocabulary: int) -> Fit:
    """A fit on a text."""
    layers, own_options = _reaching(variant.cell, TEXT_MEMORY_STEPS)

    def fit(hidden: int) -> Fit:
        return Fit(
            task=name,
            length=size.lengths[0],
            variant=variant.name,
            seed=seed,
            hidden=hidden,
            layers=layers,
            own_options=own_options,
            steps=size.steps,
        )

    return fit(
        hidden_for(
            size.parameters, lambda hidden: LanguageModel(text_shape(fit(hidden), vocabulary))
        )
    )


def text_shape(fit: Fit, vocabulary: int) -> ModelShape:
    """The language model of a fit."""
    return ModelShape(
        cell=VARIANTS[fit.variant].cell,
        vocabulary=vocabulary,
        embedding=EMBEDDING,
        hidden=fit.hidden,
        layers=fit.layers,
        **fit.own_options,
    )


def _reaching(cell: str, steps: int) -> tuple[int, dict[str, int]]:
    """Layers and own options with which a cell looks back over so many steps."""
    match cell:
        case "tcn":
            # The last 1 + 2 (kernel - 1) (2**layers - 1) steps.
            return math.ceil(math.log2((steps - 1) / (2 * (KERNEL - 1)) + 1)) or 1, {}
        case "attention":
            return LAYERS[cell], {"attention_window": steps}
        case _:
            return LAYERS[cell], {}
