"""What a `LanguageModel`'s graph takes, gives and carries, as the server reads it."""

import numpy as np
import torch

from rnnserve.repository.spec import CarrySpec, ModelSpec, TensorSpec
from rnnserve_export.cells import next_name
from rnnserve_export.graph import LOGITS, TOKENS
from rnnserve_models.language_model import LanguageModel

DEFAULT_MAX_BATCH = 256


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
            CarrySpec(entry, next_name(entry), _dtype(shape.dtype), shape.shape)
            for entry, shape in model.carry_shapes().items()
        ),
        # Triton's own default is one second.
        idle_timeout_s=60.0,
    )


def _dtype(dtype: torch.dtype) -> np.dtype:
    return torch.empty(0, dtype=dtype).numpy().dtype
