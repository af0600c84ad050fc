"""The two validation figures, against a computation that could not be plainer."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rnnserve_models import evaluation
from rnnserve_models.reference.language_model import ReferenceLanguageModel


def brute_force(model, tokens, window):
    """One token at a time in float64, the carry initial again after every `window` tokens."""
    reference, nats = ReferenceLanguageModel(model), 0.0
    for index in range(len(tokens) - 1):
        if index % window == 0:
            carry = reference.initial_carry(1)
        carry, logits = reference(carry, tokens[None, index : index + 1])
        nats += np.logaddexp.reduce(logits[0, 0]) - logits[0, 0, tokens[index + 1]]
    return nats / (len(tokens) - 1)


@pytest.fixture(scope="module")
def tokens():
    return np.random.default_rng(5).integers(0, 11, 1200)


@pytest.mark.parametrize("length", [2, 3, 513, 514, 1200])
def test_the_streamed_figure_is_over_every_character_but_the_first(build_model, tokens, length):
    model, text = build_model("lstm"), tokens[:length]
    score = evaluation.streamed(model, text)
    assert score.nats_per_character == pytest.approx(brute_force(model, text, 10**9), abs=1e-5)
    assert score.bits_per_character == score.nats_per_character / math.log(2)


@pytest.mark.parametrize(("length", "window"), [(2, 5), (5, 5), (6, 5), (13, 5), (700, 5), (40, 1)])
def test_the_reset_figure_forgets_after_every_window(build_model, tokens, length, window):
    model, text = build_model("gru"), tokens[:length]
    score = evaluation.reset_every(model, text, window)
    assert score.nats_per_character == pytest.approx(brute_force(model, text, window), abs=1e-5)


def test_one_window_as_long_as_the_text_is_the_streamed_figure(build_model, tokens):
    model = build_model("rnn")
    streamed = evaluation.streamed(model, tokens).nats_per_character
    assert evaluation.reset_every(model, tokens, 1199).nats_per_character == pytest.approx(streamed)


@pytest.mark.parametrize("length", [2, 100, 1200])
def test_the_estimate_is_near_the_streamed_figure(build_model, tokens, length):
    model = build_model("lstm")
    estimate = evaluation.estimated(model, tokens[:length]).nats_per_character
    streamed = evaluation.streamed(model, tokens[:length]).nats_per_character
    assert estimate == pytest.approx(streamed, abs=0.05)


def test_every_scored_character_is_reported(build_model, tokens):
    model, reports = build_model("rnn"), []
    evaluation.streamed(model, tokens, reports.append)
    evaluation.reset_every(model, tokens, 7, reports.append)
    assert sum(reports) == 2 * 1199


def test_measuring_a_model_in_training_leaves_it_in_training(build_model, tokens):
    model = build_model("rnn").train()
    evaluation.estimated(model, tokens)
    assert model.training
