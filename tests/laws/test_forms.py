"""Laws 5 and 9: every form of a model gives the same numbers, also after a long time."""

import numpy as np
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from laws.mirror import exact
from small_models import V, random_carry
from synchronous_engine import SynchronousEngine

law = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
LONG_STEPS = 20_000
LONG_TOLERANCE = 1e-4


@law
@given(B=st.integers(1, 5), T=st.integers(1, 30), seed=st.integers(0, 2**32 - 1))
def test_torch_and_onnx_and_the_equations_agree(model, B, T, seed):
    random = np.random.default_rng(seed)
    tokens = random.integers(0, V, (B, T))
    carry = random_carry(model.spec, B, random)
    wanted_carry, wanted = model.reference(
        {name: exact(array) for name, array in carry.items()}, tokens
    )
    onnx_carry, (onnx_logits,) = model.runner().run(tuple(carry.values()), (tokens,))
    with torch.no_grad():
        torch_carry, torch_logits = model.torch_model(
            {name: torch.from_numpy(array) for name, array in carry.items()},
            torch.from_numpy(tokens),
        )
    for found in (onnx_logits, torch_logits.numpy()):
        np.testing.assert_allclose(found, wanted, atol=1e-5, rtol=0)
    for place, entry in enumerate(model.spec.carry):
        for found in (onnx_carry[place], torch_carry[entry.input_name].numpy()):
            np.testing.assert_allclose(
                found, wanted_carry[entry.input_name], atol=1e-5, rtol=0, err_msg=entry.input_name
            )


def test_after_20_000_steps_the_carry_is_still_the_references(model):
    tokens = np.random.default_rng(1).integers(0, V - 1, LONG_STEPS)
    engine = SynchronousEngine(model)
    session = engine.open()
    for start in range(0, LONG_STEPS, 1000):
        engine.step(session, start, tokens[start : start + 1000].tolist())
    lease = engine.model.sessions[session].lease
    found = engine.model.slots.read(lease)
    wanted, _ = model.reference(model.reference.initial_carry(1), tokens[np.newaxis])
    for entry, array in zip(model.spec.carry, found, strict=True):
        np.testing.assert_allclose(
            array[np.newaxis],
            wanted[entry.input_name],
            atol=LONG_TOLERANCE,
            rtol=0,
            err_msg=entry.input_name,
        )
