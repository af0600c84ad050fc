"""One run's way through its scenarios."""

from dataclasses import replace
from functools import partial
from statistics import median

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table as RichTable

from rnnserve_bench import machine, others, raw
from rnnserve_bench.check import checked_tokens, difference, rnnserve_logits, triton_logits
from rnnserve_bench.contest import Contest, Outcome
from rnnserve_bench.echo_server import ITERATE, READ_WRITE
from rnnserve_bench.errors import BenchProblem
from rnnserve_bench.models import MAIN, VOCABULARY
from rnnserve_bench.options import RunOptions
from rnnserve_bench.results import Results
from rnnserve_bench.rig import Rig
from rnnserve_bench.scenarios import OURS, ROWS, Scenario
from rnnserve_bench.served import served_load
from rnnserve_bench.tables import Table, scenario_table
from rnnserve_bench.terms import Terms

ECHO = Scenario(
    "echo",
    "Two ways to write an echo, 64 streams",
    {
        READ_WRITE: partial(others.bare, streams=ROWS, method=READ_WRITE),
        ITERATE: partial(others.bare, streams=ROWS, method=ITERATE),
    },
    share=0.5,
    most_rounds=3,
)


class Measuring:
    """Measures scenarios in order, and shows what it finds as it comes."""

    def __init__(self, rig: Rig, options: RunOptions, console: Console) -> None:
        self._rig, self._options, self._console = rig, options, console
        self._terms = Terms(
            rig, options.span, ITERATE, options.tokens, options.sessions, options.client
        )
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            # Drawing takes time on the load's core.
            refresh_per_second=1,
        )

    def all(self, scenarios: list[Scenario]) -> Results:
        """Everything that the report is written from.

        Raises BenchProblem when the main model's numbers come out wrong; a contestant that fails in
        a scenario is only missing from it.
        """
        windows = sum(
            len(scenario.entrants) * self._rounds(scenario) for scenario in (ECHO, *scenarios)
        )
        with self._progress:
            self._task = self._progress.add_task("", total=windows)
            outcomes = {ECHO.name: self._one(ECHO)}
            method = self._choose_echo(outcomes[ECHO.name])
            checks = self._checks()
            for scenario in scenarios:
                outcomes[scenario.name] = self._one(scenario)
        options = self._options
        return Results(
            command=options.command,
            settings={"rounds": options.rounds, "window_s": options.window_s},
            machine=machine.machine(),
            versions=machine.versions() | self._rig.versions(),
            outcomes=outcomes,
            checks=checks,
            echo_method=method,
            client=options.client,
        )

    def _rounds(self, scenario: Scenario) -> int:
        return min(self._options.rounds, scenario.most_rounds)

    def _choose_echo(self, outcome: Outcome) -> str:
        """The better of the two, so that the comparison is hard."""
        costs = {name: median(s.step_us for s in found) for name, found in outcome.samples.items()}
        if not costs:
            raise BenchProblem("the bare wire failed")
        method = min(costs, key=lambda name: costs[name])
        self._terms = replace(self._terms, echo_method=method)
        return method

    def _one(self, scenario: Scenario) -> Outcome:
        update = partial(self._progress.update, self._task)
        update(description=f"{scenario.name}: making ready")
        terms, rounds = self._terms.scaled(scenario.share), self._rounds(scenario)
        contest = Contest(
            {name: partial(enter, terms) for name, enter in scenario.entrants.items()}
        )
        update(advance=rounds * len(contest.missing))

        def finished(name: str) -> None:
            update(description=f"{scenario.name}: {name}", advance=1)

        samples = contest.compete(rounds, finished, self._rig.renew_workers)
        missing = {name: str(why).splitlines()[0] for name, why in contest.missing.items()}
        outcome = Outcome(scenario.name, scenario.title, samples, missing)
        self._show(outcome, contest)
        if scenario.retire is not None:
            self._rig.retire(scenario.retire)
        return outcome

    def _show(self, outcome: Outcome, contest: Contest) -> None:
        print_table(self._console, f"{outcome.title} ({outcome.name})", scenario_table(outcome))
        for name, problem in contest.missing.items():
            notes = getattr(problem, "__notes__", ())
            self._console.print("\n".join([f"{name}: {problem}", *notes]), markup=False)

    def _checks(self) -> dict[str, float]:
        """The main model's logits, served and alone."""
        folder = self._rig.build(MAIN)
        call = self._rig.on_client_core.call
        alone = self._rig.on_server_core.call(raw.logits, folder, checked_tokens(VOCABULARY))
        load = served_load(self._terms, MAIN)
        found = {OURS: difference(call(rnnserve_logits, load), alone)}
        try:
            load = others.triton_load(self._terms, MAIN)
        except BenchProblem:
            return found
        return found | {"Triton": difference(call(triton_logits, load), alone)}


def print_table(console: Console, title: str, table: Table) -> None:
    """Show it on a terminal."""
    shown = RichTable(title=title, title_justify="left")
    for place, name in enumerate(table.head):
        shown.add_column(name, justify="right" if place else "left")
    for row in table.rows:
        shown.add_row(*row)
    console.print(shown)
