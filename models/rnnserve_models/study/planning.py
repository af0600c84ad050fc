"""How a plan is made: the size's fits, the time of an update of each kind, the budget."""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Callable
from pathlib import Path

from rnnserve_models import evaluation
from rnnserve_models.study.characters import options_of, text_of
from rnnserve_models.study.errors import StudyError
from rnnserve_models.study.fit import CHARACTERS, FILE, Fit
from rnnserve_models.study.fitting import CHECK_BATCHES, Fitting, OnProgress, held_out_score
from rnnserve_models.study.machine import machine, versions
from rnnserve_models.study.network import Network
from rnnserve_models.study.options import StudyOptions
from rnnserve_models.study.plan import Plan, Speed, budgeted
from rnnserve_models.study.sizes import FULL, QUICK, Size, all_fits
from rnnserve_models.study.tasks import tasks
from rnnserve_models.study.variants import VARIANTS
from rnnserve_models.study.workers import Done, Job, Workers
from rnnserve_models.trainer import VALIDATIONS, Trainer

SCORED_FOR_TIME = 1_000
START_S = 0.2


def size_of(quick: bool) -> Size:
    """The sizes that the options ask for."""
    return QUICK if quick else FULL


def make_plan(options: StudyOptions, workers: Workers, check: Callable[[], None]) -> Plan:
    """Measure how long updates take here, and decide what is to be done.

    `check` is called now and then, and may raise to stop.

    Raises:
        CorpusError: the text that was given is no good.
    """
    size = size_of(options.quick)
    texts = {CHARACTERS: text_of(None)} if CHARACTERS in size.tasks else {}
    if options.corpus is not None:
        texts[FILE] = text_of(options.corpus)
    vocabularies = {name: text.vocabulary for name, text in texts.items()}
    fits = tuple(all_fits(size, options.seeds_each, vocabularies))
    speeds = _speeds(fits, size, options.corpus, workers, check)
    fits, expected_s, scale = budgeted(fits, speeds, options.fits_s * options.workers)
    return Plan(
        fits=fits,
        expected_s=expected_s,
        scale=scale,
        recipe=size.recipe,
        quick=options.quick,
        seeds=options.seeds_each,
        gradient_length=size.gradient_length,
        corpus=corpus_mark(options.corpus),
        workers=options.workers,
        command=" ".join(["rnnserve", *sys.argv[1:]]),
        machine=machine(),
        versions=versions(),
    )


def corpus_mark(path: Path | None) -> tuple[str, str] | None:
    """The name of a text's file and the SHA-256 of what is in it."""
    if path is None:
        return None
    return path.name, hashlib.sha256(path.read_bytes()).hexdigest()


def agree(plan: Plan, options: StudyOptions, folder: Path) -> None:
    """Raises StudyError where the options ask for another study than the one that was begun."""
    ours = (options.quick, options.seeds_each, corpus_mark(options.corpus))
    theirs = (plan.quick, plan.seeds, plan.corpus)
    flags = ("--quick", "--seeds", "--corpus")
    pairs = zip(flags, ours, theirs, strict=True)
    if wrong := [flag for flag, our, their in pairs if our != their]:
        raise StudyError(
            f"the study in {folder} was begun with another {wrong[0]}: go on with the command it"
            f" was begun with (`{plan.command}`), or give another folder"
        )


def _speeds(
    fits: tuple[Fit, ...],
    size: Size,
    corpus: Path | None,
    workers: Workers,
    check: Callable[[], None],
) -> dict[str, Speed]:
    """By the fits' names. Seeds and variants of the same cell take the same time."""

    def kind(fit: Fit) -> tuple[str, int, str]:
        return fit.task, fit.length, VARIANTS[fit.variant].cell

    one_each = {kind(fit): fit for fit in fits}
    jobs = [Job(fit.name, measure_speed, (fit, size, corpus)) for fit in one_each.values()]
    found: dict[str, Speed] = {}
    for event in workers.run(jobs):
        check()
        if isinstance(event, Done):
            found[event.job.name] = event.value
    return {fit.name: found[one_each[kind(fit)].name] for fit in fits}


def measure_speed(fit: Fit, size: Size, corpus: Path | None, _: OnProgress) -> Speed:
    """How long an update and the rest of a fit take, on one core beside the other workers."""
    if fit.is_text:
        return _text_speed(fit, size, None if fit.task == CHARACTERS else corpus)
    task = tasks()[fit.task](fit.length)
    network = Network(fit, task)
    check_s = _timed(lambda: held_out_score(network, task, CHECK_BATCHES), 0.0)
    fitting = Fitting(fit, size.recipe, task, network)
    step_s = _timed(fitting.advance, size.timed_s)
    batches = sum(1 for _ in task.held_out())
    checks = 1 + size.recipe.evaluations + batches / CHECK_BATCHES
    return Speed(step_s, START_S + checks * check_s)


def _text_speed(fit: Fit, size: Size, corpus: Path | None) -> Speed:
    text, recipe = text_of(corpus), size.recipe
    scored = text.validation[: recipe.scored_characters]
    trainer = Trainer(options_of(fit, recipe), text.vocabulary, text.train, scored)
    step_s = _timed(trainer.advance, size.timed_s)
    estimate_s = _timed(lambda: evaluation.estimated(trainer.model, scored), 0.0)
    few = scored[:SCORED_FOR_TIME]
    score_s = _timed(lambda: evaluation.streamed(trainer.model, few), 0.0) * len(scored) / len(few)
    return Speed(step_s, START_S + VALIDATIONS * estimate_s + score_s)


def _timed(act: Callable[[], object], at_least_s: float) -> float:
    """The processor's seconds for a call: the mean over so long a time, after an untimed first."""
    act()
    began_s, done = time.process_time(), 0
    while not done or time.process_time() - began_s < at_least_s:
        act()
        done += 1
    return (time.process_time() - began_s) / done
