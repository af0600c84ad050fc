"""Models that none of us exported: imported by the command, served, and streamed against NumPy."""

import subprocess
import sys

import numpy as np
import pytest

from foreign_models import denoiser, layered, voice_activity
from peers.inference import Request
from peers.triton_peer import TritonPeer
from rnnserve.client import Client
from server_process import ServerProcess

STEPS = 6
MODELS = {
    "voice_activity": (voice_activity, "input", "output", (512,), ("--constant", "sr=16000")),
    "denoiser": (denoiser, "input_2", "Identity", (1, 1, 257), ()),
    "layered": (layered, "x", "y", (6,), ()),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("foreign")
    for name, (build, *_, hints) in MODELS.items():
        path = folder / f"{name}.onnx"
        path.write_bytes(build().graph)
        command = [sys.executable, "-m", "rnnserve", "import", str(path), *hints]
        command += ["--repository", str(folder / "repository")]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    with ServerProcess(folder / "repository") as process:
        yield process
        assert process.stop() == 0


def given(name: str, seed: int) -> np.ndarray:
    """What a session is given, one step each (STEPS, ...)."""
    shape = MODELS[name][3]
    return np.random.default_rng(seed).standard_normal((STEPS, *shape)).astype(np.float32)


def expected(name: str, steps: np.ndarray) -> list[np.ndarray]:
    """What NumPy gives for one session, step by step, each as the graph has it."""
    build, taken, output, *_ = MODELS[name]
    model = build()
    carry = dict(model.begin)
    found = []
    for step in steps:
        x = step if name == "denoiser" else step[None]
        x = x[:, None] if name == "layered" else x
        after = model.step({taken: x, **carry})
        carry = {entry: after[following] for entry, following in model.states.items()}
        found.append(after[output])
    return found


@pytest.mark.parametrize("name", MODELS)
def test_a_session_streams_what_the_equations_give(server, name):
    with (
        Client(server.target) as client,
        client.open(name) as one,
        client.open(name) as other,
    ):
        sessions = one, other
        inputs = [given(name, seed) for seed in range(2)]
        wanted = [expected(name, steps) for steps in inputs]
        for place in range(STEPS):
            for session, steps, answers in zip(sessions, inputs, wanted, strict=True):
                y = session.step(steps[place])
                answer = y[next(iter(y))] if isinstance(y, dict) else y
                np.testing.assert_allclose(
                    answer.ravel(), answers[place].ravel(), atol=1e-5, rtol=1e-5
                )


@pytest.mark.parametrize("name", MODELS)
def test_a_sequence_of_tritons_client_gives_the_same(server, name):
    _, taken, output, *_ = MODELS[name]
    steps = given(name, 5)
    wanted = expected(name, steps)
    with TritonPeer(server.target) as peer:
        for place, step in enumerate(steps):
            x = step if name == "denoiser" else step[None]
            x = x[:, None] if name == "layered" else x
            answer = peer.infer(Request(name, {taken: x}, sequence_id=9, sequence_start=place == 0))
            np.testing.assert_allclose(answer.outputs[output], wanted[place], atol=1e-5, rtol=1e-5)
