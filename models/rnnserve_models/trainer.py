"""Truncated backpropagation through time (Williams & Peng 1990) with the carry kept across windows.

Theory of operation: step n reads `lanes.window(n)`, runs the model from the carry that step n - 1
left (cut from its graph), and moves the weights with AdamW under a gradient of bounded length.
The learning rate rises for `warmup_steps` and then falls along a cosine to zero.  All that the
next step depends on is in the checkpoint, so an interrupted and resumed run equals one never
interrupted, bit for bit; only a run that follows the clock (`max_minutes`) depends on when it ran.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from rnnserve_models import evaluation
from rnnserve_models.checkpoint import Checkpoint
from rnnserve_models.errors import TrainingError
from rnnserve_models.language_model import LanguageModel, ModelShape
from rnnserve_models.options import TrainOptions
from rnnserve_models.windows import Lanes, Tokens

VALIDATIONS = 12
"""How often the validation loss is estimated in the course of a run."""


class Trainer:
    """One model being trained.

    Attributes:
        step: steps done.
        losses: training nats per character, one for each step done.
        validations: (step, estimated validation nats per character).
    """

    def __init__(
        self,
        options: TrainOptions,
        vocabulary: int,
        train: Tokens,
        validation: Tokens,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        torch.set_num_threads(options.threads)
        torch.manual_seed(options.seed)
        self.options = options
        self.model = LanguageModel(
            ModelShape(
                cell=options.cell,
                vocabulary=vocabulary,
                embedding=options.embedding,
                hidden=options.hidden,
                layers=options.layers,
                dropout=options.dropout,
                kernel=options.kernel,
                heads=options.heads,
                attention_window=options.attention_window,
            )
        )
        self.lanes = Lanes(train, options.batch, options.window, options.seed)
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(),
            lr=options.learning_rate,
            betas=(0.9, 0.99),
            weight_decay=options.weight_decay,
            fused=True,
        )
        self.carry = self.model.initial_carry(options.batch)
        self.bfloat16 = wants_bfloat16(options)
        self.step = 0
        self.losses: list[float] = []
        self.validations: list[tuple[int, float]] = []
        self._validation = validation
        self._clock = clock
        self._started_s = clock()

    def _continuation(self) -> dict[str, Any]:
        return {
            "optimizer": self.optimizer.state_dict(),
            "carry": self.carry,
            "generator": torch.get_rng_state(),
        }

    def checkpoint(self, corpus_sha256: str, finished: bool = False) -> Checkpoint:
        """This moment; a finished run keeps only what describes and serves the model."""
        return Checkpoint(
            shape=self.model.shape,
            options=self.options.as_dict(),
            weights=self.model.state_dict(),
            step=self.step,
            seconds=self.seconds,
            corpus_sha256=corpus_sha256,
            losses=self.losses,
            validations=self.validations,
            continuation=None if finished else self._continuation(),
        )

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go back to the moment of an unfinished run's checkpoint."""
        assert checkpoint.continuation is not None, "a finished run does not go on"
        self.model.load_state_dict(checkpoint.weights)
        self.optimizer.load_state_dict(checkpoint.continuation["optimizer"])
        self.carry = checkpoint.continuation["carry"]
        self.step = checkpoint.step
        self.losses = list(checkpoint.losses)
        self.validations = list(checkpoint.validations)
        torch.set_rng_state(checkpoint.continuation["generator"])
        self._started_s = self._clock() - checkpoint.seconds

    @property
    def seconds(self) -> float:
        """Time spent on this run, before and after any interruption."""
        return self._clock() - self._started_s

    @property
    def progress(self) -> float:
        """From 0 to 1, by steps or by the clock, whichever is further."""
        limit_minutes = self.options.max_minutes
        by_clock = self.seconds / 60 / limit_minutes if limit_minutes else 0.0
        return min(1.0, max(self.step / self.options.steps, by_clock))

    @property
    def characters(self) -> int:
        """Characters learnt so far."""
        return self.step * self.options.batch * self.options.window

    def advance(self) -> None:
        """Do one step, and estimate the validation loss when it is time to.

        Raises:
            TrainingError: the loss is no longer a number.
        """
        progress = self.progress
        self.losses.append(self._learn(progress))
        self.step += 1
        if math.floor(self.progress * VALIDATIONS) > math.floor(progress * VALIDATIONS):
            score = evaluation.estimated(self.model, self._validation)
            self.validations.append((self.step, score.nats_per_character))

    def _learn(self, progress: float) -> float:
        window = self.lanes.window(self.step)
        carry = self.model.initial_carry(len(window.inputs)) if window.fresh else self.carry
        for group in self.optimizer.param_groups:
            group["lr"] = self.options.learning_rate * self._warmth(progress)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bfloat16):
            carry, logits = self.model(carry, window.inputs)  # (B, T, V)
        loss = nn.functional.cross_entropy(logits.float().flatten(0, 1), window.targets.flatten())
        if not loss.isfinite():
            raise TrainingError(
                f"the loss is no longer a number at step {self.step}: train again in another"
                " directory with a lower --learning-rate"
            )
        self.optimizer.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(self.model.parameters(), self.options.clip)
        self.optimizer.step()
        self.carry = {name: entry.detach() for name, entry in carry.items()}
        return loss.item()

    def _warmth(self, progress: float) -> float:
        rise = min(1.0, (self.step + 1) / max(1, self.options.warmup_steps))
        return rise * 0.5 * (1 + math.cos(math.pi * progress))


def wants_bfloat16(options: TrainOptions) -> bool:
    """Whether to train in bfloat16: as asked, or where the processor multiplies it natively."""
    if options.precision == "auto":
        return bool(torch.cpu.get_capabilities().get("avx512_bf16"))
    return options.precision == "bfloat16"
