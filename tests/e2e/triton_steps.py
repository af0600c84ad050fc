"""Steps of sequences of the accumulators, as Triton's client sends them, and what came."""

import numpy as np

import tiny_models as tiny
from peers.inference import Answer, PeerError, Request
from peers.triton_peer import TritonPeer
from rnnserve.triton import grpc_service_pb2 as triton


def step(number: int | str, value: float = 1, model: str = "sum_fp32", **more) -> Request:
    """One step of a sequence of an accumulator."""
    x = np.full((1, 1), value, tiny.DTYPES[model.removeprefix("sum_").upper()])
    return Request(model, {"x": x}, sequence_id=number, **more)


def start(number: int | str, value: float = 1, model: str = "sum_fp32", **more) -> Request:
    return step(number, value, model, sequence_start=True, **more)


def y(outcome: Answer | PeerError) -> float:
    assert isinstance(outcome, Answer), outcome
    return outcome.outputs["y"].item()


def statistics(peer: TritonPeer, model: str) -> triton.ModelStatistics:
    (found,) = peer.get_inference_statistics(model).model_stats
    return found
