"""The Grafana dashboard, from code: `python deploy/grafana/dashboard.py` writes rnnserve.json.

A row is a question that somebody on call asks, a panel an answer. `--check` writes nothing and
fails where the committed file differs. The queries stand in queries.py.
"""

import json
import sys
from collections.abc import Iterable
from itertools import count
from pathlib import Path

import queries
from grafana_foundation_sdk.builders import common, prometheus, timeseries
from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import (
    LegendDisplayMode,
    LegendPlacement,
    SortOrder,
    TooltipDisplayMode,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DataSourceRef,
    DynamicConfigValue,
    VariableOption,
    VariableRefresh,
    VariableSort,
)
from queries import Panel

TARGET = Path(__file__).with_name("rnnserve.json")
SOURCE = DataSourceRef("prometheus", "${datasource}")
HEIGHT, WIDTH = 8, 24
LIMIT_STYLE = [
    DynamicConfigValue("custom.lineStyle", {"fill": "dash", "dash": [8, 8]}),
    DynamicConfigValue("custom.fillOpacity", 0),
]
"""How a line looks that is a limit."""


def dashboard() -> builders.Dashboard:
    """All of it."""
    made = (
        builders.Dashboard("rnnserve")
        .uid("rnnserve")
        .description("What rnnserve's servers do, and how much room they have left.")
        .tags(["rnnserve"])
        .timezone("browser")
        .time("now-1h", "now")
        .refresh("30s")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .editable()
    )
    for variable in variables():
        made = made.with_variable(variable)
    numbers = count(1)
    for row, panels in queries.ROWS.items():
        made = made.with_row(builders.Row(row).id(next(numbers)))
        for one in panels:
            made = made.with_panel(panel(one, WIDTH // len(panels)).id(next(numbers)))
    return made


def variables() -> Iterable[builders.DatasourceVariable | builders.QueryVariable]:
    """What the viewer chooses: where the numbers are, and of which servers and models."""
    yield builders.DatasourceVariable("datasource").label("Data source").type("prometheus")
    for name, query in queries.VARIABLES.items():
        yield (
            builders.QueryVariable(name)
            .label(name.capitalize())
            .datasource(SOURCE)
            .query(query)
            .current(VariableOption(selected=True, text="All", value="$__all"))
            .multi(True)
            .include_all(True)
            .all_value(".*")
            .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
            .sort(VariableSort.ALPHABETICAL_ASC)
        )


def panel(facts: Panel, width: int) -> timeseries.Panel:
    """Lines over time, the table below them with the last value and the highest."""
    made = (
        timeseries.Panel()
        .title(facts.title)
        .description(facts.description)
        .datasource(SOURCE)
        .unit(facts.unit)
        .min(0)
        .fill_opacity(8)
        .height(HEIGHT)
        .span(width)
        .legend(
            common.VizLegendOptions()
            .display_mode(LegendDisplayMode.TABLE)
            .placement(LegendPlacement.BOTTOM)
            .show_legend(True)
            .calcs(["lastNotNull", "max"])
        )
        .tooltip(
            common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING)
        )
        .override_by_regexp("/limit|objective/", LIMIT_STYLE)
    )
    for place, (legend, expression) in enumerate(facts.lines.items()):
        made = made.with_target(
            prometheus.Dataquery()
            .ref_id(chr(ord("A") + place))
            .datasource(SOURCE)
            .expr(expression)
            .legend_format(legend)
            .range()
        )
    return made


def text() -> str:
    """The file: the same bytes whenever the code is the same."""
    return json.dumps(dashboard().build(), cls=JSONEncoder, indent=2, sort_keys=True) + "\n"


def main() -> None:
    if sys.argv[1:] != ["--check"]:
        TARGET.write_text(text())
    elif TARGET.read_text() != text():
        raise SystemExit(f"{TARGET.name} is stale. Run: python deploy/grafana/dashboard.py")


if __name__ == "__main__":
    main()
