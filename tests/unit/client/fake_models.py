"""The models of the fake server: what they are, and what they would cost."""

import numpy as np
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

from rnnserve.v1 import rnnserve_pb2 as pb

LETTERS = "abcd\n"
LIMITS = pb.Limits(
    max_chunk_steps=64,
    max_pending_chunks=4,
    kept_replies=8,
    idle_timeout_s=60,
    max_frame_bytes=4096,
    max_frame_operations=16,
    max_life_s=3600,
    max_forks=3,
)
INT64, FP32 = pb.INT64, pb.FP32
NUMBER = pb.Tensor(name="x", data_type=INT64)
# The steps seen and the sum of the inputs, after each step.
COUNTED = pb.Tensor(name="seen_and_sum", data_type=INT64, shape=[2])
SCORES = pb.Tensor(name="logits", data_type=FP32, shape=[len(LETTERS)])
# Named against the alphabet: the order is the model's, not the names'.
CARRY = (
    pb.Tensor(name="seen", data_type=INT64, shape=[1]),
    pb.Tensor(name="bygone", data_type=INT64),
)
COSTS = pb.Costs(
    runs=[
        pb.Cost(rows=1, steps=1, run_us=100, measured=True),
        pb.Cost(rows=1, steps=8, run_us=400, measured=True),
        pb.Cost(rows=4, steps=1, run_us=200, measured=True),
        pb.Cost(rows=4, steps=8, run_us=3200, measured=False),
    ],
    max_rows=4,
    alone_block_steps=8,
    full_block_steps=2,
    max_stall_us=2000,
    max_block_us=10_000,
)


def tokenizer_json() -> str:
    vocabulary = {letter: token for token, letter in enumerate(LETTERS)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="a"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    return tokenizer.to_str()


MODELS = {
    "count": pb.ModelDescription(
        model="count",
        version=3,
        inputs=[NUMBER],
        outputs=[COUNTED],
        carry=CARRY,
        carry_bytes=16,
        costs=COSTS,
    ),
    "pair": pb.ModelDescription(
        model="pair",
        version=1,
        inputs=[NUMBER, pb.Tensor(name="y", data_type=FP32, shape=[2])],
        outputs=[COUNTED, pb.Tensor(name="doubled", data_type=FP32, shape=[2])],
        carry=CARRY,
        carry_bytes=16,
    ),
    "letters": pb.ModelDescription(
        model="letters",
        version=1,
        inputs=[NUMBER],
        outputs=[SCORES],
        carry=CARRY,
        carry_bytes=16,
        has_tokenizer=True,
        tokenizer_json=tokenizer_json(),
        costs=COSTS,
    ),
    "mute": pb.ModelDescription(
        model="mute", version=1, inputs=[NUMBER], outputs=[SCORES], carry=CARRY, carry_bytes=16
    ),
}


def listed(model: pb.ModelDescription) -> pb.ModelDescription:
    """As it stands in the list, without what only its description has."""
    short = pb.ModelDescription()
    short.CopyFrom(model)
    short.ClearField("tokenizer_json")
    short.ClearField("costs")
    return short


def letter_logits(seen: int, token: int) -> np.ndarray:
    """What "letters" answers at its step number `seen`  # (V,)"""
    return np.sin(np.arange(len(LETTERS)) * 1.7 + seen * 0.3 + token).astype(np.float32)
