"""The dashboard is what its code makes, and can be read."""

import json
import subprocess
import sys

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from deploy.observing import DASHBOARD, panels


def test_the_committed_file_is_what_the_code_makes():
    made = subprocess.run(
        [sys.executable, str(DASHBOARD.with_name("dashboard.py")), "--check"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert made.returncode == 0, made.stderr


def test_the_schema_reads_it_and_loses_nothing():
    found = json.loads(DASHBOARD.read_text())
    again = json.loads(json.dumps(Dashboard.from_json(found), cls=JSONEncoder))
    assert again == found


def test_panels_have_numbers_of_their_own_and_don_t_overlap():
    everything = json.loads(DASHBOARD.read_text())["panels"]
    assert len({panel["id"] for panel in everything}) == len(everything)
    cells = [
        (x, y)
        for panel in everything
        for place in (panel["gridPos"],)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) == 23


def test_every_panel_says_what_it_shows_and_in_which_unit():
    for panel in panels():
        assert panel["description"], panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
    titles = [panel["title"] for panel in panels()]
    assert len(set(titles)) == len(titles)


def test_times_bytes_and_shares_have_their_units():
    """By the names of the metrics: base units are the law there."""
    for panel in panels():
        unit = panel["fieldConfig"]["defaults"]["unit"]
        first = panel["targets"][0]["expr"]
        if "_seconds_bucket" in first:
            assert unit == "s", panel["title"]
        elif "_bytes{" in first:
            assert unit == "bytes", panel["title"]
        elif ":ratio" in first:
            assert unit == "percentunit", panel["title"]
        else:
            assert unit not in {"s", "bytes", "percentunit"}, panel["title"]


def test_every_query_is_of_the_chosen_servers_and_source():
    for panel in panels():
        assert panel["datasource"]["uid"] == "${datasource}"
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == "${datasource}"
            assert 'job=~"$job"' in target["expr"] or ":objective" in target["expr"]
            assert target["legendFormat"]
