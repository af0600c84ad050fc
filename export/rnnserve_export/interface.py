"""What a `LanguageModel` takes, gives and carries: as the server, and as the proof sees it."""

import numpy as np
import torch

from rnnserve.repository.spec import CarrySpec, ModelSpec, TensorSpec
from rnnserve_export.feed import Feed
from rnnserve_export.parity import Answer, Arrays, Compute
from rnnserve_export.torch_model import TorchModel
from rnnserve_models.language_model import LanguageModel
from rnnserve_models.reference.language_model import ReferenceLanguageModel

TOKENS = "tokens"
LOGITS = "logits"
DEFAULT_MAX_BATCH = 256
IDLE_TIMEOUT_S = 60.0
"""Triton's own default is one second."""


def next_name(carry_name: str) -> str:
    """The graph's output that holds the carry entry `carry_name` after the last step."""
    return f"{carry_name}_next"


def model_spec(
    model: LanguageModel, name: str, *, version: int = 1, max_batch: int = DEFAULT_MAX_BATCH
) -> ModelSpec:
    """The model as `config.pbtxt` will describe it.

    Tokens are limited to 0 <= token < V: a Gather fails on others, with its whole batch.
    """
    V = model.shape.vocabulary
    return ModelSpec(
        name=name,
        version=version,
        max_batch=max_batch,
        inputs=(TensorSpec(TOKENS, np.dtype(np.int64), (), low=0, high=V),),
        outputs=(TensorSpec(LOGITS, np.dtype(np.float32), (V,)),),
        carry=tuple(
            CarrySpec(entry, next_name(entry), numpy_dtype(shape.dtype), shape.shape)
            for entry, shape in model.carry_shapes().items()
        ),
        idle_timeout_s=IDLE_TIMEOUT_S,
    )


def torch_model(model: LanguageModel) -> TorchModel:
    """The model under the names of its graph."""
    return TorchModel(model, tuple(model.carry_shapes()), (TOKENS,), (LOGITS,))


def text_feed(spec: ModelSpec, text: np.ndarray) -> Feed:
    """Tokens as the model will meet them, `text` (K,), and any others."""
    token = spec.inputs[0]
    assert token.low is not None
    assert token.high is not None
    example = text.astype(np.int64)[None]
    return Feed(spec, {TOKENS: example}, {TOKENS: (token.low, token.high)})


def reference_answers(model: LanguageModel) -> Compute:
    """The equations in plain NumPy, in float64."""
    reference = ReferenceLanguageModel(model, np.float64)

    def compute(carry: Arrays, inputs: Arrays) -> Answer:
        after, logits = reference(carry, inputs[TOKENS])
        return after, {LOGITS: logits}

    return compute


def numpy_dtype(dtype: torch.dtype) -> np.dtype:
    """Raises TypeError for a type that NumPy doesn't have."""
    return torch.empty(0, dtype=dtype).numpy().dtype
