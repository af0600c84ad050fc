import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnserve.ops.cores import usable_cores
from rnnserve.ops.server import Server
from rnnserve.settings import ServeSettings
from small_models import publish, small_model


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine of 64 cores; says how many are usable under these files of cgroups."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))

    def usable(files: dict[str, str], place: str = "0::/\n") -> int:
        root = tmp_path / "cgroup"
        for name, text in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
        (tmp_path / "own").write_text(place)
        return usable_cores(tmp_path / "own", root)

    return usable


def test_without_a_quota_it_is_the_affinity(machine, tmp_path):
    assert machine({}) == 64
    assert machine({"cpu.max": "max 100000\n"}) == 64
    assert usable_cores(tmp_path / "missing", tmp_path / "missing") == 64


@pytest.mark.parametrize(
    ("quota", "wanted"),
    [("200000 100000", 2), ("150000 100000", 2), ("10000 100000", 1), ("9900000 100000", 64)],
)
def test_a_containers_quota_counts_by_whole_cores(machine, quota, wanted):
    assert machine({"cpu.max": quota + "\n"}) == wanted


def test_the_tightest_quota_on_the_way_to_the_root_binds(machine):
    files = {"pod/cpu.max": "300000 100000\n", "pod/box/cpu.max": "max 100000\n"}
    assert machine(files, "0::/pod/box\n") == 3
    assert machine(files, "0::/\n") == 64


def test_places_outside_the_namespace_and_of_cgroup_v1_are_left_alone(machine, tmp_path):
    (tmp_path / "cpu.max").write_text("100000 100000\n")
    assert machine({"cpu.max": "500000 100000\n"}, "0::/../..\n") == 5
    assert machine({}, "3:cpu:/box\n") == 5


@given(st.binary(max_size=40))
def test_garbage_sets_no_limit_and_raises_nothing(tmp_path_factory, garbage):
    folder = tmp_path_factory.mktemp("garbage")
    (folder / "cpu.max").write_bytes(garbage)
    assert 1 <= usable_cores(folder / "none", folder) <= len(os.sched_getaffinity(0))


@pytest.mark.parametrize(("asked", "wanted"), [(None, 5), (3, 3)])
def test_the_server_runs_long_batches_on_as_many_threads(
    tmp_path, monkeypatch, caplog, asked, wanted
):
    monkeypatch.setattr("rnnserve.ops.server.usable_cores", lambda: 5)
    publish(small_model("lstm", 1), tmp_path)
    with caplog.at_level("INFO"):
        Server(ServeSettings(repository=tmp_path, run_threads=asked))
    assert f"long batches run on {wanted} threads" in caplog.messages
