"""`rnnserve inspect` and `rnnserve import` as they are typed."""

import json
from dataclasses import fields

import pytest

from foreign_models import denoiser, voice_activity
from rnnserve.cli import COMMANDS, main
from rnnserve.repository.tree import read_version
from rnnserve_export.foreign.options import ImportOptions, InspectOptions, Overrules

from . import odd_models

OPTIONS = {"inspect": (InspectOptions, Overrules), "import": (ImportOptions, Overrules)}


@pytest.fixture
def typed(tmp_path, monkeypatch, capsys):
    """Runs a command line in a folder with some models; its status and what it wrote."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    (tmp_path / "vad.onnx").write_bytes(voice_activity().graph)
    (tmp_path / "denoiser.onnx").write_bytes(denoiser().graph)
    (tmp_path / "cell.onnx").write_bytes(odd_models.cell_by_hand("a", "b"))

    def typed(*words):
        try:
            main(words)
        except SystemExit as ended:
            return ended.code, *capsys.readouterr()
        return 0, *capsys.readouterr()

    return typed


@pytest.mark.parametrize("command", OPTIONS)
def test_every_option_has_a_line_of_help_and_the_page_ends_with_examples(typed, command):
    _, page, _ = typed(command, "--help")
    for options in OPTIONS[command]:
        for field in fields(options):
            flag = f"--{field.name.replace('_', '-')} "
            line = next(line for line in page.splitlines() if flag in line)
            assert len(line.split(flag)[1].strip(" │").split(maxsplit=1)) == 2, field.name
    (known,) = [one for one in COMMANDS if one.name == command]
    assert page.rstrip().endswith(known.examples[-1])
    assert known.line in " ".join(page.split())


def test_the_command_that_inspect_ends_with_is_the_one_that_imports(typed, tmp_path):
    for name in ("vad", "denoiser", "cell"):
        status, report, complaints = typed("inspect", f"{name}.onnx")
        assert (status, complaints) == (0, "")
        _, *words = report.splitlines()[-1].split()
        status, report, complaints = typed(*words)
        assert (status, complaints) == (0, "")
        assert report.splitlines()[-1] == f"published repository/{name}/1"
        assert read_version(tmp_path / "repository", name, 1).spec.name == name


def test_several_pairs_and_a_name_and_a_batch(typed, tmp_path):
    pairs = ("--state", "a:out_3", "--state", "b:out_2")
    status, _, _ = typed("import", "cell.onnx", *pairs, "--name", "gates", "--max-batch", "7")
    spec = read_version(tmp_path / "repository", "gates", 1).spec
    assert status == 0
    assert {entry.input_name: entry.output_name for entry in spec.carry} == {
        "a": "out_3", "b": "out_2",
    }  # fmt: skip
    assert spec.max_batch == 7


def test_json_is_for_programs(typed):
    _, report, _ = typed("inspect", "vad.onnx", "--json", "--constant", "sr=8000")
    assert json.loads(report)["questions"] == []


def test_what_stops_an_import_is_one_sentence_and_status_1(typed):
    status, report, complaint = typed("import", "cell.onnx")
    assert status == 1
    assert complaint.count("\n") == 1
    assert complaint.startswith("rnnserve: whether 'out_3' is the next of the state 'a' is only")
    assert "a guess" in report
    status, _, complaint = typed("import", "absent.onnx")
    assert (status, complaint) == (1, "rnnserve: there is no file absent.onnx\n")


def test_a_malformed_value_names_its_option(typed):
    status, _, complaint = typed("import", "cell.onnx", "--max-batch", "0")
    assert status == 2
    assert "--max-batch" in complaint
