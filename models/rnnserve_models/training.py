"""A training run from an empty directory to a finished one: prepare, learn, measure, record."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from rnnserve_models import corpus as corpora
from rnnserve_models import evaluation
from rnnserve_models.card import training_card
from rnnserve_models.cell_options import misplaced
from rnnserve_models.checkpoint import Checkpoint, RunFiles, load_checkpoint, save_checkpoint
from rnnserve_models.corpus import Corpus
from rnnserve_models.curve import draw_curve
from rnnserve_models.errors import CorpusError, RunError
from rnnserve_models.interruption import Interrupted, Interruption
from rnnserve_models.options import TrainOptions, flag
from rnnserve_models.progress import TrainingProgress, say
from rnnserve_models.tokenizer import character_tokenizer, encode
from rnnserve_models.trainer import Trainer
from rnnserve_models.windows import Tokens


@dataclass(frozen=True)
class Task:
    """All that a run is about."""

    files: RunFiles
    options: TrainOptions
    corpus: Corpus
    validation: Tokens
    trainer: Trainer
    console: Console

    def save(self, finished: bool = False) -> None:
        """Write the checkpoint."""
        checkpoint = self.trainer.checkpoint(self.corpus.sha256, finished)
        save_checkpoint(checkpoint, self.files.checkpoint)


def train_run(run: Path, asked: TrainOptions, console: Console) -> None:
    """Train in the directory `run`, or say that it is done already.

    Raises:
        TrainingError: the options, the corpus or the directory do not allow it.
        Interrupted: a signal came; the run can be resumed.
    """
    files = RunFiles(run)
    before = load_checkpoint(files.checkpoint) if files.checkpoint.exists() else None
    options = _agree(run, asked, before)
    if before and before.finished:
        say(console, f"{run} is trained already ({before.step} steps): nothing to do")
        return
    with Interruption() as interruption:
        task = _prepare(files, options, before, console)
        try:
            _learn(task, interruption)
            _finish(task, interruption)
        except Interrupted:
            done = f"stopped after step {task.trainer.step} of {options.steps}, saved"
            say(console, f"{done}: go on with `rnnserve train {run} --resume`")
            raise


def _agree(run: Path, asked: TrainOptions, before: Checkpoint | None) -> TrainOptions:
    if before is None:
        if asked.resume:
            raise RunError(f"there is no run to resume in {run}: leave out --resume to start one")
        if strangers := RunFiles(run).strangers():
            raise RunError(
                f"{run} holds other files ({strangers[0]}): give the run its own directory"
            )
        for name, owner in misplaced(asked.cell, asked.as_dict()):
            raise RunError(
                f"{flag(name)} is for the cell {owner}, not for {asked.cell}: leave it out"
            )
        return asked
    options = asked.continuing(run, TrainOptions.from_dict(before.options))
    if not before.finished and not asked.resume:
        raise RunError(
            f"{run} holds a run that stopped at step {before.step} of {options.steps}:"
            " add --resume to go on with it, or train into another directory"
        )
    return options


def _prepare(
    files: RunFiles, options: TrainOptions, before: Checkpoint | None, console: Console
) -> Task:
    path = options.corpus
    corpus = corpora.text_file(path) if path else corpora.standard_library()
    if before and before.corpus_sha256 != corpus.sha256:
        raise RunError(
            f"the corpus is no longer the text that {files.directory} was started with:"
            " bring that text back, or train into another directory"
        )
    if len(corpus.validation) < 2:
        raise CorpusError(
            f"the corpus has {len(corpus.train)} characters, too few to keep some for validation:"
            " give a longer text"
        )
    tokenizer = character_tokenizer(corpus.train)
    train, validation = encode(tokenizer, corpus.train), encode(tokenizer, corpus.validation)
    trainer = Trainer(options, tokenizer.get_vocab_size(), train, validation)
    try:
        files.directory.mkdir(parents=True, exist_ok=True)
        files.tokenizer.write_text(tokenizer.to_str(pretty=True), encoding="utf-8")
        files.validation.write_text(corpus.validation, encoding="utf-8", newline="")
    except OSError as error:
        raise RunError(
            f"{files.directory} cannot hold a run ({error.strerror}): choose another directory"
        ) from error
    if before:
        trainer.restore(before)
    parameters = sum(p.numel() for p in trainer.model.parameters())
    say(
        console,
        f"{options.cell} {options.layers}x{options.hidden}, {parameters:,} parameters,"
        f" {'bfloat16' if trainer.bfloat16 else 'float32'}, {options.threads} threads;"
        f" {corpus.description}:"
        f" {len(train):,} characters to learn, {len(validation):,} to validate",
    )
    return Task(files, options, corpus, validation, trainer, console)


def _learn(task: Task, interruption: Interruption) -> None:
    trainer, saved_s = task.trainer, time.monotonic()
    with TrainingProgress(trainer, task.console) as progress:
        while trainer.progress < 1 and not interruption.noted:
            trainer.advance()
            progress.show()
            if time.monotonic() - saved_s >= task.options.checkpoint_s:
                task.save()
                saved_s = time.monotonic()
    task.save()
    interruption.check()


def _finish(task: Task, interruption: Interruption) -> None:
    trainer, options = task.trainer, task.options
    seconds = trainer.seconds

    def check(_characters: int) -> None:
        interruption.check()

    say(task.console, f"learnt {trainer.characters:,} characters in {seconds:.0f} s; measuring")
    streamed = evaluation.streamed(trainer.model, task.validation, check)
    reset = evaluation.reset_every(trainer.model, task.validation, options.window, check)
    card = training_card(trainer, seconds, task.corpus, streamed, reset)
    card.write(task.files)
    draw_curve(
        trainer.losses,
        trainer.validations,
        options.batch * options.window,
        f"{options.cell.upper()} {options.layers}x{options.hidden}, dropout {options.dropout}",
        task.files.curve,
    )
    task.save(finished=True)
    for name, score in (
        ("carry streamed", streamed),
        (f"carry reset every {options.window} characters", reset),
    ):
        say(
            task.console,
            f"validation, {name}: {score.bits_per_character:.4f} bits per character"
            f" ({score.nats_per_character:.4f} nats)",
        )
    say(task.console, f"the run is in {task.files.directory}")
