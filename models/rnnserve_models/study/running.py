"""A study from an empty folder to its report: plan, fit, measure serving, write."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from rich.console import Console

from rnnserve_models.interruption import Interrupted, Interruption
from rnnserve_models.language_model import LanguageModel
from rnnserve_models.progress import say
from rnnserve_models.study.characters import run_text_fit, text_of
from rnnserve_models.study.fit import CHARACTERS, Fit, Result
from rnnserve_models.study.fitting import OnProgress, run_fit
from rnnserve_models.study.folder import StudyFolder
from rnnserve_models.study.options import StudyOptions
from rnnserve_models.study.plan import Plan
from rnnserve_models.study.planning import agree, make_plan, size_of
from rnnserve_models.study.progress import StudyProgress
from rnnserve_models.study.reporting import write_report
from rnnserve_models.study.serving import WINDOW, MeasureServing, ServingTerms
from rnnserve_models.study.sizes import text_shape
from rnnserve_models.study.variants import FOR_GRADIENTS
from rnnserve_models.study.workers import Done, Job, Progress, Workers

SERVING = "the cost of serving"
EXPORTING = 1.4
"""Measuring the cost of serving takes so many times as long with the exports before it."""


@dataclass(frozen=True)
class Study:
    """All that a study is about."""

    folder: StudyFolder
    plan: Plan
    corpus: Path | None
    console: Console
    check: Callable[[], None]


def run_study(path: Path, options: StudyOptions, measure: MeasureServing, console: Console) -> None:
    """Do what is left to do of the study in `path`, and write its report.

    Raises:
        TrainingError: the options, the text or the folder do not allow it.
        Interrupted: a signal came; the same command goes on.
    """
    folder = StudyFolder(path)
    with folder.held(), Interruption() as interruption:
        try:
            with Workers(options.workers) as crew:
                study = _begin(folder, options, console, crew, interruption.check)
                _work(study, crew, measure)
            write_report(folder, study.plan)
        except Interrupted:
            plan = folder.plan()
            done = f"{len(folder.results(plan))} of {len(plan.fits)} fits are kept" if plan else ""
            say(console, f"stopped; {done or 'nothing was done yet'}: the same command goes on")
            raise
    say(console, f"the report is {folder.report}")


def _begin(
    folder: StudyFolder,
    options: StudyOptions,
    console: Console,
    crew: Workers,
    check: Callable[[], None],
) -> Study:
    plan = folder.plan()
    if plan is None:
        say(console, "measuring how long updates take here")
        plan = make_plan(options, crew, check)
        folder.save_plan(plan)
    else:
        agree(plan, options, folder.path)
    study = Study(folder, plan, options.corpus, console, check)
    _announce(study)
    return study


def _announce(study: Study) -> None:
    plan, done = study.plan, study.folder.results(study.plan)
    kinds: dict[tuple[str, int], list[Fit]] = {}
    for fit in sorted(plan.fits, key=Fit.as_key):
        kinds.setdefault((fit.task, fit.length), []).append(fit)
    for (task, length), fits in kinds.items():
        minutes = sum(plan.expected_s[fit.name] for fit in fits) / plan.workers / 60
        say(
            study.console,
            f"{task:>10} T={length:<4} {len(fits):3} fits of {fits[0].steps:5} updates,"
            f" at most {minutes:5.1f} min",
        )
    left = [fit for fit in plan.fits if fit.name not in done]
    minutes = (plan.expected_wall_s(left) + _serving_s(study)) / 60
    if plan.scale < 1:
        say(
            study.console,
            f"to fit into the time, all budgets are {plan.scale:.2f} of the full ones",
        )
    if done:
        say(study.console, f"{len(done)} of {len(plan.fits)} fits are there already")
    say(
        study.console,
        f"{len(left)} fits to do, then serving: at most {minutes:.0f} min on quiet cores",
    )


def _serving_s(study: Study) -> float:
    """Seconds that measuring is going to take; 0.0 when it is done already."""
    if study.folder.serving() is not None:
        return 0.0
    return EXPORTING * size_of(study.plan.quick).serving_s


def _work(study: Study, crew: Workers, measure: MeasureServing) -> None:
    """Fit what is left, then measure serving if that is left too; one bar for both."""
    plan, done = study.plan, study.folder.results(study.plan)
    left = [fit for fit in plan.fits if fit.name not in done]
    expected_s = {fit.name: plan.expected_s[fit.name] / crew.count for fit in left}
    if serving_s := _serving_s(study):
        expected_s[SERVING] = serving_s
    with StudyProgress(study.console, expected_s, len(plan.fits), len(done)) as progress:
        _fit(study, left, crew, progress)
        # Nothing else of ours may run while the cost of serving is measured.
        crew.close()
        if serving_s:
            _serve(study, measure, progress)


def _fit(study: Study, left: Sequence[Fit], crew: Workers, progress: StudyProgress) -> None:
    jobs = [Job(fit.name, fitted, (fit, study.plan, study.corpus)) for fit in left]
    for event in crew.run(jobs):
        match event:
            case Progress(job, share):
                progress.at(job.name, share)
            case Done(job, result):
                study.folder.save_result(result)
                progress.finished(job.name)
        study.check()


def fitted(fit: Fit, plan: Plan, corpus: Path | None, on_progress: OnProgress) -> Result:
    """Any fit of a plan, in a worker."""
    if fit.is_text:
        return run_text_fit(fit, plan.recipe, corpus, on_progress)
    probe = (
        fit.task == "adding" and fit.length == plan.gradient_length and fit.variant in FOR_GRADIENTS
    )
    return run_fit(fit, plan.recipe, probe, on_progress)


def _serve(study: Study, measure: MeasureServing, progress: StudyProgress) -> None:
    size = size_of(study.plan.quick)
    terms = ServingTerms(seconds=size.serving_s, histories=size.histories)

    def on_measured(share: float) -> None:
        study.check()
        progress.at(SERVING, share)

    costs = measure(models_to_serve(study.plan, size.windows), terms, on_measured)
    study.folder.save_serving(costs)
    progress.finished(SERVING)


def models_to_serve(plan: Plan, windows: Sequence[int]) -> dict[str, LanguageModel]:
    """Each architecture's language model, and attention's with other windows.

    Their weights are those before training: what a step costs depends on the shapes alone.
    """
    shapes = {
        fit.variant: text_shape(fit, text_of(None).vocabulary)
        for fit in plan.fits
        if fit.task == CHARACTERS and fit.seed == 0
    }
    if (attention := shapes.get("attention")) is not None:
        for window in windows:
            shapes[f"{WINDOW}{window}"] = replace(attention, attention_window=window)
    torch.manual_seed(0)
    return {name: LanguageModel(shape).eval() for name, shape in shapes.items()}
