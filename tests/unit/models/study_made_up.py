"""Results that nobody ever got, to see what a report says of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from rnnserve_models.study.findings import Findings
from rnnserve_models.study.fit import CHARACTERS, Ended, Fit, Point, Recipe, Result
from rnnserve_models.study.plan import Plan
from rnnserve_models.study.serving import ServingCost
from rnnserve_models.study.tasks import tasks
from rnnserve_models.study.variants import ARCHITECTURES, FOR_MEMORY

NAMES = tuple(variant.name for variant in ARCHITECTURES)
MEMORY_NAMES = tuple(variant.name for variant in FOR_MEMORY)


def a_result(
    task: str = "adding",
    length: int = 50,
    variant: str = "gru",
    seed: int = 0,
    loss: float = 0.1,
    success: float = math.nan,
    **changes,
) -> Result:
    """A fit's result with this loss."""
    text = task == CHARACTERS
    own = {"attention": {"attention_window": 128}, "tcn": {}}.get(variant, {})
    fit = Fit(
        task=task,
        length=length,
        variant=variant,
        seed=seed,
        hidden=8,
        layers=4 if variant == "tcn" else 2 if variant == "attention" else 1,
        own_options=own,
        steps=100,
    )
    made = None if text else tasks()[task](length)
    plain = {
        "fit": fit,
        "parameters": 1_000,
        "steps_done": 100,
        "seconds": 5.0,
        "inputs_per_s": 1_000.0,
        "ended": Ended.BUDGET,
        "loss": loss,
        "baseline": made.baseline if made else 3.0,
        "solved_below": made.solved_below if made else 0.0,
        "success": success,
        "curve": (Point(0, 0.5, 0.5, 2.0), Point(100, loss, loss, 1.5)),
        "gradients": {},
    }
    return Result(**{**plain, **changes})


def memory(task: str, losses: Mapping[str, Mapping[int, float]], seeds: int = 3) -> list[Result]:
    """From losses by variant and length."""
    return [
        a_result(task, length, variant, seed, loss * (1 + 0.01 * seed))
        for variant, by_length in losses.items()
        for length, loss in by_length.items()
        for seed in range(seeds)
    ]


def images(task: str, shares: Mapping[str, float]) -> list[Result]:
    """From accuracies by variant."""
    return [a_result(task, 64, name, loss=0.5, success=share) for name, share in shares.items()]


def language(bits: Mapping[str, float], seeds: int = 2, apart: float = 0.01) -> list[Result]:
    """From bits per character by variant; the second seed is worse by `apart`."""
    return [
        a_result(CHARACTERS, 64, name, seed, (value + apart * seed) * math.log(2))
        for name, value in bits.items()
        for seed in range(seeds)
    ]


def flows(ratios: Mapping[str, float], length: int = 100, loss: float = 0.1) -> list[Result]:
    """From what becomes of a norm from lag 1 to the longest, by variant, before training."""
    lags = length - 1
    found = []
    for name, ratio in ratios.items():
        norms = tuple(ratio ** (lag / (lags - 1)) for lag in range(lags))
        found.append(
            a_result(
                "adding",
                length,
                name,
                loss=loss,
                gradients={"before": {"h": norms}, "after": {"h": norms}},
            )
        )
    return found


def a_cost(name: str, us: float = 20.0, carry_bytes: int = 1_000, late: float = 1.0) -> ServingCost:
    """What serving costs; one more token after 1,024 steps costs `late` times as much."""
    return ServingCost(
        name=name,
        parameters=1_000,
        carry_bytes=carry_bytes,
        step_us={1: us, 16: 4 * us, 64: 10 * us},
        block_us={1: 20 * us, 16: 80 * us, 64: 200 * us},
        block_steps=64,
        history_us={1: us, 64: us, 1024: late * us},
        again_us={1: us, 64: 30 * us, 1024: 500 * us},
    )


def a_plan(results: Sequence[Result]) -> Plan:
    """The plan that these results are of."""
    return Plan(
        fits=tuple(result.fit for result in results),
        expected_s={result.fit.name: 1.0 for result in results},
        scale=1.0,
        recipe=Recipe(),
        quick=False,
        seeds=3,
        gradient_length=100,
        corpus=None,
        workers=2,
        command="rnnserve study",
        machine={"processor": "abacus"},
        versions={"Python": "3"},
    )


def findings(results: Iterable[Result], serving: Sequence[ServingCost] = ()) -> Findings:
    """What a report of these results is written from."""
    found = list(results)
    return Findings(a_plan(found), found, serving)


def everything() -> Findings:
    """A study in which every section has something to say."""
    reached = {"rnn": 0, "lstm": 100, "gru": 200, "tcn": 200, "attention": 200, "mingru": 50}
    reached["lstm-b0"] = 50
    lengths = (50, 100, 200)
    found = []
    for task, good, bad in (("adding", 0.002, 0.16), ("copy", 1e-4, 0.09)):
        losses = {
            name: {T: good if reach >= T else bad for T in lengths}
            for name, reach in reached.items()
        }
        found += memory(task, losses)
    probed = flows({"rnn": 1e-12, "rnn-loud": 1e9, "lstm-b0": 1e-20, "lstm": 0.5, "gru": 1e-3})
    at_length = {result.fit.name: result for result in probed}
    found = [at_length.pop(result.fit.name, result) for result in found]
    found += at_length.values()
    for name in ("rnn-unclipped", "lstm-unclipped", "rnn-loud-unclipped"):
        found.append(a_result("adding", 100, name, loss=0.17))
    for task in ("digits", "permuted"):
        found += images(task, {name: 0.5 + 0.05 * n for n, name in enumerate(MEMORY_NAMES)})
    found += language({name: 2.0 + 0.1 * place for place, name in enumerate(NAMES)})
    costs = [a_cost(name, 10.0 * (place + 1), 100 * 4**place) for place, name in enumerate(NAMES)]
    costs += [a_cost(f"attention-window-{window}", window, window * 100) for window in (32, 512)]
    return findings(found, costs)
