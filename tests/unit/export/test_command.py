"""`rnnserve export` from a finished run to a repository that a server can read."""

import io
import json
from dataclasses import fields

import numpy as np
import pytest
from cyclopts import App
from rich.console import Console

from rnnserve.engine.runner import Runner
from rnnserve.repository.tree import model_names, read_version, versions, wanted_versions
from rnnserve_export.cells import CELL_GRAPHS
from rnnserve_export.command import export
from rnnserve_export.errors import ExportError, OtherInterface, ProofFailed
from rnnserve_export.exporting import export_run
from rnnserve_export.options import ExportOptions
from rnnserve_models.errors import RunError
from small_models import CELLS

from .sabotage import swap_two_gates


@pytest.fixture
def repository(tmp_path):
    return tmp_path / "repository"


def exported(run, repository, **options):
    """What the export said."""
    console = Console(file=io.StringIO(), width=100)
    export_run(run, ExportOptions(repository=repository, **options), console)
    return console.file.getvalue()


@pytest.mark.parametrize("cell", CELLS)
def test_a_run_becomes_a_model_that_meets_its_own_golden_vectors(make_run, repository, cell):
    said = exported(make_run(cell=cell), repository)
    assert model_names(repository) == ["letters"]
    assert wanted_versions(repository, "letters") == [1]
    read = read_version(repository, "letters", 1)
    folder = repository / "letters" / "1"
    golden = np.load(folder / "golden.npz")
    carry = tuple(golden[entry.input_name] for entry in read.spec.carry)
    _, (logits,) = Runner(read.spec, read.graph).run(carry, (golden["tokens"],))
    np.testing.assert_allclose(logits, golden["logits"], atol=float(golden["tolerance"]))
    assert {path.name for path in folder.iterdir()} == {
        "model.onnx", "tokenizer.json", "golden.npz", "card.json", "card.md", "proof.json",
    }  # fmt: skip
    assert json.loads((folder / "proof.json").read_text())["graph_sha256"] == read.fingerprint
    assert said.splitlines()[-1] == f"published {folder}"
    assert "chain of 2000 single steps" in said


def test_the_curve_goes_along_where_there_is_one(make_run, repository):
    run = make_run()
    (run / "curve.png").write_bytes(b"picture")
    exported(run, repository)
    assert (repository / "letters" / "1" / "curve.png").read_bytes() == b"picture"


def test_the_same_run_again_publishes_nothing_and_says_so(make_run, repository):
    run = make_run()
    exported(run, repository)
    said = exported(run, repository)
    assert (
        said == f"{repository / 'letters' / '1'} is this very model already: nothing to publish\n"
    )
    assert versions(repository / "letters") == [1]
    exported(run, repository, force=True)
    assert versions(repository / "letters") == [1, 2]


def test_a_wrong_graph_is_refused_and_nothing_is_published(make_run, repository, monkeypatch):
    right = CELL_GRAPHS["lstm"]

    def wrong(draft, cell, x):
        y = right(draft, cell, x)
        draft.constants["R1"] = swap_two_gates(draft.constants["R1"])
        return y

    monkeypatch.setitem(CELL_GRAPHS, "lstm", wrong)
    with pytest.raises(ProofFailed, match=r"is off by .* nothing was published"):
        exported(make_run(), repository)
    assert not repository.exists()


def test_the_name_and_the_largest_batch_can_be_chosen_and_stay(make_run, repository):
    run = make_run()
    exported(run, repository, name="prose", max_batch=3)
    exported(run, repository, name="prose", force=True)
    assert read_version(repository, "prose", 2).spec.max_batch == 3
    said = exported(run, repository, name="prose", max_batch=4)
    assert "now allows 4 rows in a batch" in said
    assert read_version(repository, "prose", 2).spec.max_batch == 4
    assert versions(repository / "prose") == [1, 2]


def test_a_run_of_another_width_needs_another_name(make_run, repository):
    exported(make_run(), repository)
    wider = make_run("wider", hidden=9)
    with pytest.raises(OtherInterface, match="--name"):
        exported(wider, repository, name="letters")
    exported(wider, repository)
    assert model_names(repository) == ["letters", "wider"]


@pytest.mark.parametrize("name", ["", ".hidden", "two words", "a/b", "-x", "x" * 129])
def test_a_name_that_no_server_would_read_is_refused(make_run, repository, name):
    with pytest.raises(ExportError, match="choose one with --name"):
        exported(make_run(), repository, name=name)
    assert not repository.exists()


def test_a_folder_without_a_run_says_to_train_first(tmp_path, repository):
    with pytest.raises(RunError, match="train a model there first"):
        exported(tmp_path, repository)


def test_a_tokenizer_of_another_run_is_noticed(make_run, repository):
    with pytest.raises(ExportError, match="has 4 tokens, the model 13"):
        exported(make_run(letters="abc"), repository)
    assert not repository.exists()


def test_a_run_without_validation_text_can_be_exported(make_run, repository):
    run = make_run()
    (run / "validation.txt").write_text("")
    exported(run, repository)
    assert versions(repository / "letters") == [1]


def test_the_command_takes_its_options_by_name(make_run, repository, capsys):
    app = App(result_action="return_value")
    app.command(export)
    app(["export", str(make_run()), "--repository", str(repository), "--max-batch", "7"])
    assert read_version(repository, "letters", 1).spec.max_batch == 7
    assert capsys.readouterr().out.splitlines()[-1].startswith("published ")


def test_every_option_has_a_line_of_help(capsys):
    app = App(name="rnnserve", result_action="return_value")
    app.command("rnnserve_export.command:export")
    app(["export", "--help"])
    page = capsys.readouterr().out
    for field in fields(ExportOptions):
        flag = f"--{field.name.replace('_', '-')} "
        line = next(line for line in page.splitlines() if flag in line)
        assert len(line.split(flag)[1].strip(" │").split(maxsplit=1)) == 2, field.name
