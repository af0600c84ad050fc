"""Every law is tried on every kind of cell."""

import numpy as np
import pytest

from small_models import KINDS, SmallModel, V, small_model


@pytest.fixture(params=KINDS, ids=lambda kind: f"{kind[0]}-{kind[1]}")
def model(request: pytest.FixtureRequest) -> SmallModel:
    return small_model(*request.param)


@pytest.fixture
def expected(model: SmallModel):
    """Tokens (T,) to the logits (T, V) that the equations give from a carry of zeros."""

    def answer(tokens: list[int]) -> np.ndarray:
        carry = model.reference.initial_carry(1)
        _, logits = model.reference(carry, np.array([tokens]))
        return logits[0]

    assert model.torch_model.shape.vocabulary == V
    return answer
