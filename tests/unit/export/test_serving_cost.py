"""What the study learns of serving: every model, every batch, every history, in the same runner."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rnnserve_export.serving_cost import ServedModel, measure
from rnnserve_models.language_model import LanguageModel, ModelShape
from rnnserve_models.parameters import count
from rnnserve_models.study.serving import ServingTerms

TERMS = ServingTerms(seconds=0.2, histories=(1, 5), rows=(1, 3), block_steps=4)


def a_model(cell: str) -> LanguageModel:
    torch.manual_seed(0)
    shape = ModelShape(cell=cell, vocabulary=11, embedding=4, hidden=6, layers=2)
    return LanguageModel(shape).eval()


def test_every_model_is_measured_at_everything():
    models, heard = {"rnn": a_model("rnn"), "lstm": a_model("lstm")}, []
    costs = measure(models, TERMS, heard.append)
    assert [cost.name for cost in costs] == list(models)
    for cost in costs:
        assert cost.parameters == count(models[cost.name])
        for by_rows in (cost.step_us, cost.block_us):
            assert tuple(by_rows) == TERMS.rows
        for by_steps in (cost.history_us, cost.again_us):
            assert tuple(by_steps) == TERMS.histories
        times = [cost.step_us, cost.block_us, cost.history_us, cost.again_us]
        assert all(us > 0 for by in times for us in by.values())
    assert heard == sorted(heard)
    assert heard[-1] == 1


def test_a_session_keeps_the_bytes_of_its_carry():
    rnn, lstm = measure({"rnn": a_model("rnn"), "lstm": a_model("lstm")}, TERMS, lambda _: None)
    assert rnn.carry_bytes == 2 * 6 * 4
    assert lstm.carry_bytes == 2 * rnn.carry_bytes


def test_whoever_listens_may_stop_it():
    def stop(share: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure({"rnn": a_model("rnn")}, TERMS, stop)


def test_a_history_is_what_the_carry_has_seen():
    model = ServedModel("gru", a_model("gru"))
    fresh = model.initial_carry(1)
    (after, *_), (whole, *_) = model.run(fresh, 3), model.run(fresh, 5)
    assert not np.any(fresh[0])
    assert np.any(after)
    assert not np.array_equal(after, whole)
