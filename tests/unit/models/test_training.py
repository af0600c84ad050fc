"""A run from beginning to end: the same bits however often it stops, and what it leaves behind."""

from __future__ import annotations

import io
import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from rich.console import Console

from rnnserve_models import evaluation
from rnnserve_models.cells import CELLS
from rnnserve_models.checkpoint import RunFiles, load_checkpoint, load_run, save_checkpoint
from rnnserve_models.errors import CorpusError, RunError, TrainingError
from rnnserve_models.language_model import LanguageModel
from rnnserve_models.options import TrainOptions
from rnnserve_models.tokenizer import UNKNOWN
from rnnserve_models.trainer import Trainer
from rnnserve_models.training import train_run

SMALL = TrainOptions(
    hidden=8, embedding=4, layers=2, dropout=0.2, steps=14, batch=2, window=16, threads=1
)


@pytest.fixture(scope="module")
def tokens():
    return np.tile(np.arange(11), 13)


@pytest.fixture
def corpus(tmp_path, rhyme):
    path = tmp_path / "rhyme.txt"
    path.write_bytes(rhyme.replace("\n", "\r\n").encode())
    return path


@pytest.fixture(scope="module")
def finished(tmp_path_factory, rhyme):
    """One finished run, its options, and what it said."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "rhyme.txt").write_text(rhyme, encoding="utf-8")
    options = replace(SMALL, corpus=folder / "rhyme.txt", steps=60)
    return folder / "run", options, said(folder / "run", options)


def said(run, options):
    console = Console(file=io.StringIO(), force_terminal=False)
    train_run(run, options, console)
    return console.file.getvalue()


def a_trainer(tokens, **changes):
    return Trainer(replace(SMALL, **changes), 11, tokens, tokens[:40])


def train_straight(tokens, **changes):
    trainer = a_trainer(tokens, **changes)
    while trainer.progress < 1:
        trainer.advance()
    return trainer


@pytest.mark.parametrize("cell", sorted(CELLS))
@pytest.mark.parametrize("stops", [[1], [5], [4, 5, 13]])
def test_interrupted_and_resumed_is_never_interrupted(tokens, tmp_path, cell, stops):
    straight = train_straight(tokens, cell=cell)
    trainer, path = a_trainer(tokens, cell=cell), tmp_path / "checkpoint.pt"
    while trainer.progress < 1:
        if trainer.step in stops:
            save_checkpoint(trainer.checkpoint("sha"), path)
            torch.manual_seed(999)
            trainer = a_trainer(tokens, cell=cell)
            trainer.restore(load_checkpoint(path))
            stops = [stop for stop in stops if stop > trainer.step]
        trainer.advance()
    assert trainer.losses == straight.losses
    assert trainer.validations == straight.validations
    ours, theirs = trainer.model.state_dict(), straight.model.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_the_same_seed_learns_the_same_and_another_another(tokens):
    first, again = train_straight(tokens), train_straight(tokens)
    other = train_straight(tokens, seed=1)
    assert first.losses == again.losses != other.losses


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_rhyme_is_learnt_and_the_weights_are_float32(tokens, precision):
    trainer = train_straight(
        tokens, steps=150, hidden=32, layers=1, dropout=0.0, warmup_steps=1, precision=precision
    )
    assert trainer.losses[0] > 2.0 > 0.7 > trainer.losses[-1]
    assert {p.dtype for p in trainer.model.parameters()} == {torch.float32}


def test_the_learning_rate_rises_and_then_falls_to_nothing(tokens):
    trainer, rates = a_trainer(tokens, warmup_steps=4), []
    while trainer.progress < 1:
        trainer.advance()
        rates.append(trainer.optimizer.param_groups[0]["lr"])
    peak = rates.index(max(rates))
    assert peak in (2, 3)
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert rates[-1] < 0.02 * SMALL.learning_rate


def test_a_run_that_follows_the_clock_ends_in_time(tokens):
    now_s = 0.0
    options = replace(SMALL, steps=10**6, max_minutes=1.0)
    trainer = Trainer(options, 11, tokens, tokens[:40], clock=lambda: now_s)
    while trainer.progress < 1:
        trainer.advance()
        now_s += 5.0
    assert trainer.step == 12
    assert trainer.optimizer.param_groups[0]["lr"] < 0.02 * options.learning_rate


def test_a_finished_run_loads_as_the_model_that_was_measured(finished, rhyme):
    path, _, _ = finished
    run = load_run(path)
    assert not run.model.training
    assert run.validation.read_bytes().decode() == rhyme[int(0.9 * len(rhyme)) :]
    vocabulary = json.loads(run.tokenizer.read_text(encoding="utf-8"))["model"]["vocab"]
    assert vocabulary[UNKNOWN] == 0
    text = run.validation.read_bytes().decode()
    tokens = np.array([vocabulary.get(character, 0) for character in text])
    measured = evaluation.streamed(run.model, tokens).nats_per_character
    assert measured == pytest.approx(run.card["result"]["nats_per_character"], abs=1e-6)


def test_the_end_of_a_run_tells_both_figures_in_bits_and_nats(finished):
    path, _, output = finished
    result = load_run(path).card["result"]
    for end in ("", "_reset_every_window"):
        bits, nats = result[f"bits_per_character{end}"], result[f"nats_per_character{end}"]
        assert bits == pytest.approx(nats / math.log(2))
        assert f"{bits:.4f} bits per character ({nats:.4f} nats)" in output


def test_the_card_tells_what_how_on_what_and_how_well(finished, rhyme):
    path, options, _ = finished
    card = load_run(path).card
    assert card["model"]["cell"] == "lstm"
    assert card["model"]["parameters"] == sum(p.numel() for p in load_run(path).model.parameters())
    told = {**card["model"], **card["training"]}
    asked = {**options.as_dict(), "corpus": "rhyme.txt"}
    assert {name: told[name] for name in asked if name != "resume"} == {
        name: value for name, value in asked.items() if name != "resume"
    }
    corpus = card["corpus"]
    assert corpus["train_characters"] + corpus["validation_characters"] == len(rhyme)
    assert len(corpus["sha256"]) == 64
    assert set(card["versions"]) == {"python", "rnnserve", "torch", "numpy", "tokenizers"}
    assert card["training"]["seconds"] > 0


def test_the_readable_card_tells_the_same(finished):
    path, _, _ = finished
    page, card = (path / "card.md").read_text(encoding="utf-8"), load_run(path).card
    for chapter, rows in card.items():
        assert f"## {chapter.capitalize()}" in page
        assert all(f"| {name.replace('_', ' ')} |" in page for name in rows)
    assert f"{card['result']['bits_per_character']:.4f} bits per character" in page


def test_the_card_does_not_tell_where_the_text_lay(finished):
    path, options, _ = finished
    for name in ("card.json", "card.md"):
        assert str(options.corpus.parent) not in (path / name).read_text(encoding="utf-8")


def test_the_curve_is_a_picture(finished):
    path, _, _ = finished
    picture = (path / "curve.png").read_bytes()
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    assert picture.endswith(b"IEND\xaeB`\x82")


def test_a_finished_run_is_left_as_it_is(finished):
    path, options, _ = finished
    before = {file.name: file.stat().st_mtime_ns for file in path.iterdir()}
    assert "trained already" in said(path, options)
    assert "trained already" in said(path, replace(options, resume=True))
    assert {file.name: file.stat().st_mtime_ns for file in path.iterdir()} == before


def test_a_run_with_other_options_is_never_overwritten(finished):
    path, options, _ = finished
    with pytest.raises(RunError, match=r"--hidden 8, not 9.*another directory"):
        said(path, replace(options, hidden=9))


def an_unfinished_run(path, corpus):
    options = replace(SMALL, corpus=corpus)
    path.mkdir()
    trainer = Trainer(options, 30, np.arange(500) % 30, np.arange(40) % 30)
    save_checkpoint(trainer.checkpoint("another text"), RunFiles(path).checkpoint)
    return options


def test_an_unfinished_run_asks_for_resume_and_cannot_be_exported(tmp_path, corpus):
    options = an_unfinished_run(tmp_path / "run", corpus)
    with pytest.raises(RunError, match="stopped at step 0 of 14: add --resume"):
        said(tmp_path / "run", options)
    with pytest.raises(RunError, match=r"finish it with `rnnserve train .* --resume`"):
        load_run(tmp_path / "run")


def test_a_run_is_not_resumed_with_another_text(tmp_path, corpus):
    options = an_unfinished_run(tmp_path / "run", corpus)
    with pytest.raises(RunError, match="no longer the text"):
        said(tmp_path / "run", replace(options, resume=True))


def test_nothing_can_be_resumed_where_nothing_is(tmp_path, corpus):
    with pytest.raises(RunError, match=r"no run to resume.*leave out --resume"):
        said(tmp_path / "run", replace(SMALL, corpus=corpus, resume=True))
    with pytest.raises(RunError, match="train a model there first"):
        load_run(tmp_path / "run")


@pytest.mark.parametrize("contents", [b"", b"not a checkpoint", b"PK\x03\x04" + b"\0" * 50])
def test_a_damaged_checkpoint_is_named(tmp_path, contents):
    (tmp_path / "checkpoint.pt").write_bytes(contents)
    with pytest.raises(RunError, match=r"checkpoint\.pt is not a readable checkpoint"):
        load_run(tmp_path)


def test_other_peoples_files_are_never_overwritten(tmp_path, corpus):
    with pytest.raises(RunError, match=r"holds other files .rhyme\.txt.: give the run its own"):
        said(tmp_path, replace(SMALL, corpus=corpus))


def test_a_directory_that_cannot_be_made_is_named(tmp_path, corpus):
    with pytest.raises(RunError, match=r"rhyme\.txt/run cannot hold a run .Not a directory"):
        said(corpus / "run", replace(SMALL, corpus=corpus))


def test_an_option_of_another_cell_is_refused_by_its_flag(tmp_path, corpus):
    options = replace(SMALL, corpus=corpus, cell="tcn", attention_window=9)
    with pytest.raises(RunError, match="--attention-window is for the cell attention, not for tcn"):
        said(tmp_path / "run", options)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("cell", "own"),
    [("tcn", {"kernel": 3}), ("attention", {"heads": 3, "attention_window": 9}), ("mingru", {})],
)
def test_a_run_of_any_cell_loads_with_what_it_was_trained_with(tmp_path, corpus, cell, own):
    said(tmp_path / "run", replace(SMALL, corpus=corpus, cell=cell, steps=2, **own))
    run = load_run(tmp_path / "run")
    assert run.model.shape.own_options == own
    assert run.card["model"]["cell"] == cell


def test_a_diverging_run_says_what_to_change(tokens):
    trainer = a_trainer(tokens)
    torch.nn.init.constant_(trainer.model.readout.bias, math.nan)
    with pytest.raises(TrainingError, match=r"no longer a number at step 0.*--learning-rate"):
        trainer.advance()


def test_a_refused_text_leaves_no_directory_behind(tmp_path):
    (tmp_path / "short.txt").write_text("abc" * 10, encoding="utf-8")
    with pytest.raises(CorpusError, match="needs 33"):
        said(tmp_path / "run", replace(SMALL, corpus=tmp_path / "short.txt"))
    assert not (tmp_path / "run").exists()


def test_a_checkpoint_is_written_whole_or_not_at_all(tokens, tmp_path, monkeypatch):
    trainer, path = a_trainer(tokens), tmp_path / "checkpoint.pt"
    save_checkpoint(trainer.checkpoint("first"), path)

    def break_off(_contents, file):
        file.write(b"half a")
        raise OSError("no space left on device")

    monkeypatch.setattr(torch, "save", break_off)
    with pytest.raises(RunError, match=r"cannot be written .no space.*make room"):
        save_checkpoint(trainer.checkpoint("second"), path)
    monkeypatch.undo()
    assert load_checkpoint(path).corpus_sha256 == "first"


def test_a_checkpoint_round_trips_the_shape(tokens, tmp_path):
    trainer = a_trainer(tokens)
    save_checkpoint(trainer.checkpoint("sha"), tmp_path / "checkpoint.pt")
    loaded = load_checkpoint(tmp_path / "checkpoint.pt")
    assert loaded.shape == trainer.model.shape
    LanguageModel(loaded.shape).load_state_dict(loaded.weights)
