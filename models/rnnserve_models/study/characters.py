"""Language modelling as a fit: the project's own trainer on a text, scored with the carry streamed.

The baseline is what the frequencies of the training text's characters predict without looking at
what came before.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import median

import numpy as np

from rnnserve_models import corpus as corpora
from rnnserve_models import evaluation
from rnnserve_models.errors import CorpusError, TrainingError
from rnnserve_models.options import TrainOptions
from rnnserve_models.parameters import count
from rnnserve_models.study.fit import CHARACTERS, Ended, Fit, Point, Recipe, Result
from rnnserve_models.study.fitting import OnProgress
from rnnserve_models.study.sizes import EMBEDDING
from rnnserve_models.study.variants import VARIANTS
from rnnserve_models.tokenizer import character_tokenizer, encode
from rnnserve_models.trainer import Trainer
from rnnserve_models.windows import Tokens


@dataclass(frozen=True)
class Text:
    """A corpus as tokens.

    Attributes:
        vocabulary: how many tokens there are.
        train, validation: (N,) int64.
        description: where the text comes from.
    """

    vocabulary: int
    train: Tokens
    validation: Tokens
    description: str

    def baseline(self, scored: Tokens) -> float:
        """Nats per character of a piece of text by the training text's frequencies alone."""
        # One more of each, so that a character that was never seen is possible too.
        counts = np.bincount(self.train, minlength=self.vocabulary) + 1
        return float(-np.log(counts / counts.sum())[scored].mean())


@cache
def text_of(path: Path | None) -> Text:
    """The text in a file, or the default one.

    Raises:
        CorpusError: the file is missing, unreadable or too short.
    """
    corpus = corpora.text_file(path) if path else corpora.standard_library()
    tokenizer = character_tokenizer(corpus.train)
    train, validation = encode(tokenizer, corpus.train), encode(tokenizer, corpus.validation)
    if len(validation) < 2:
        raise CorpusError(
            "the text is too short to keep some of it for validation: give a longer one"
        )
    vocabulary = tokenizer.get_vocab_size()
    return Text(vocabulary, train, validation, corpus.description)


def options_of(fit: Fit, recipe: Recipe) -> TrainOptions:
    """The trainer's options; its schedule of the learning rate is its own."""
    return TrainOptions(
        cell=VARIANTS[fit.variant].cell,  # type: ignore[arg-type]
        hidden=fit.hidden,
        layers=fit.layers,
        **fit.own_options,  # type: ignore[arg-type]
        embedding=EMBEDDING,
        steps=fit.steps,
        batch=recipe.batch,
        window=fit.length,
        learning_rate=recipe.learning_rate,
        warmup_steps=min(recipe.warmup_steps, fit.steps),
        precision="float32",
        seed=fit.seed,
        threads=1,
    )


def run_text_fit(fit: Fit, recipe: Recipe, corpus: Path | None, on_progress: OnProgress) -> Result:
    """Train as the fit says, on the default text or on the one in `corpus`."""
    text = text_of(None if fit.task == CHARACTERS else corpus)
    scored = text.validation[: recipe.scored_characters]
    trainer = Trainer(options_of(fit, recipe), text.vocabulary, text.train, scored)
    ended = Ended.BUDGET
    times_s: list[float] = []
    try:
        while trainer.step < fit.steps:
            began_s = time.process_time()
            trainer.advance()
            times_s.append(time.process_time() - began_s)
            on_progress(trainer.step / fit.steps)
    except TrainingError:
        ended = Ended.DIVERGED
    loss = math.inf
    if ended is not Ended.DIVERGED:
        loss = evaluation.streamed(trainer.model, scored).nats_per_character
    return Result(
        fit=fit,
        parameters=count(trainer.model),
        steps_done=trainer.step,
        seconds=math.fsum(times_s),
        # The median, because now and then an update also estimates the validation loss.
        inputs_per_s=recipe.batch * fit.length / median(times_s) if times_s else 0.0,
        ended=ended,
        loss=loss,
        baseline=text.baseline(scored),
        solved_below=0.0,
        success=math.nan,
        curve=_curve(trainer),
        gradients={},
    )


def _curve(trainer: Trainer) -> tuple[Point, ...]:
    """The trainer's estimates of the validation loss, each with the training loss up to there."""
    before, points = 0, []
    for step, nats in trainer.validations:
        recent = trainer.losses[before:step]
        points.append(Point(step, math.fsum(recent) / len(recent), nats, math.nan))
        before = step
    return tuple(points)
