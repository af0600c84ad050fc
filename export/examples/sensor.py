"""A model of your own, served: it watches six vibration sensors of a machine, reading by reading.

    python export/examples/sensor.py publish repository     # train for seconds, prove, publish
    rnnserve serve --repository repository                  # in another terminal
    python export/examples/sensor.py watch                  # a machine that goes wrong, streamed

A convolution sees the last five readings, a GRU remembers what came before. For every reading it
answers how likely a fault is by now, and what it expects to read next.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from cyclopts import App
from torch import Tensor, nn
from torch.nn import functional

from rnnserve.client import Client
from rnnserve_export import export_module

SENSORS, CHANNELS, HIDDEN, KERNEL = 6, 16, 32, 5
READINGS_PER_S = 50.0
NAME = "watchman"
TRAINING_STEPS, BATCH, LENGTH = 200, 32, 150
ALARM = 0.5
"""From which probability on."""

Carry = dict[str, Tensor]
app = App(help=__doc__)


class Watchman(nn.Module):
    """`(carry, readings (N, T, 6)) -> (carry, {fault (N, T), forecast (N, T, 6)})`."""

    states = {  # noqa: RUF012
        # The readings before a chunk that its first convolutions reach back to.
        "window": torch.zeros(KERNEL - 1, SENSORS),
        "h": torch.zeros(HIDDEN),
    }
    """What a session begins with, without rows."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(SENSORS, CHANNELS, KERNEL)
        self.gru = nn.GRU(CHANNELS, HIDDEN, batch_first=True)
        self.fault = nn.Linear(HIDDEN, 1)
        self.forecast = nn.Linear(HIDDEN, SENSORS)

    def forward(self, carry: Carry, readings: Tensor) -> tuple[Carry, dict[str, Tensor]]:
        line = torch.cat([carry["window"], readings], dim=1)  # (N, 4 + T, 6)
        features = torch.relu(self.convolution(line.transpose(1, 2))).transpose(1, 2)
        y, h = self.gru(features, carry["h"][None])  # (N, T, H), (1, N, H)
        after = {"window": line[:, -(KERNEL - 1) :], "h": h[0]}
        fault = torch.sigmoid(self.fault(y)).squeeze(2)
        return after, {"fault": fault, "forecast": self.forecast(y)}


def machine(
    rng: np.random.Generator, count: int, fault_at: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Readings (count, 6) float32 of one machine, and for each whether the fault is there.

    It turns at 1 to 3 Hz; a faulty bearing adds a tone several times as high, ever louder.
    """
    at_s = np.arange(count)[:, None] / READINGS_PER_S
    turns = 2 * np.pi * rng.uniform(1.0, 3.0) * at_s
    readings = np.sin(turns + rng.uniform(0, 2 * np.pi, SENSORS))
    readings += rng.normal(0, 0.1, (count, SENSORS))
    is_faulty = np.zeros(count, bool)
    if fault_at is not None:
        is_faulty[fault_at:] = True
        loudness = np.clip((np.arange(count) - fault_at) / 20, 0, 1)[:, None]
        readings += loudness * rng.uniform(0.5, 1.0, SENSORS) * np.sin(5 * turns)
    return readings.astype(np.float32), is_faulty


def trained(seed: int = 0) -> Watchman:
    """A watchman after some seconds of training on machines, half of which go wrong."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    watchman = Watchman()
    optimizer = torch.optim.Adam(watchman.parameters(), lr=1e-2)
    begin = {name: torch.stack([state] * BATCH) for name, state in watchman.states.items()}
    for _ in range(TRAINING_STEPS):
        onsets = [int(rng.integers(10, LENGTH)) if row % 2 else None for row in range(BATCH)]
        machines = [machine(rng, LENGTH, onset) for onset in onsets]
        readings = torch.from_numpy(np.stack([seen for seen, _ in machines]))
        is_faulty = torch.from_numpy(np.stack([faulty for _, faulty in machines])).float()
        _, found = watchman(begin, readings)
        loss = functional.binary_cross_entropy(found["fault"], is_faulty)
        loss = loss + functional.mse_loss(found["forecast"][:, :-1], readings[:, 1:])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(watchman.parameters(), 1.0)
        optimizer.step()
    return watchman


@app.command
def publish(repository: Path) -> None:
    """Train a watchman, and put it into REPOSITORY."""
    rng = np.random.default_rng(1)
    likely = np.stack([machine(rng, 400, 200)[0] for _ in range(8)])
    published = export_module(
        trained(),
        torch.from_numpy(likely),
        states=Watchman.states,
        repository=repository,
        name=NAME,
    )
    print(f"published {published.folder}")


@app.command
def watch(target: str = "127.0.0.1:8001", *, seed: int = 2, fault_at: int = 200) -> None:
    """Stream a machine that goes wrong to the server at TARGET, until the alarm."""
    readings, _ = machine(np.random.default_rng(seed), 2 * fault_at, fault_at)
    for number, fault in enumerate(faults(target, readings)):
        if fault >= ALARM:
            print(f"alarm at reading {number}; the fault began at {fault_at}")
            return
    print("no alarm")


def faults(target: str, readings: np.ndarray) -> Iterator[float]:
    """How likely a fault is after each reading, one message a reading."""
    with Client(target) as client, client.open(NAME) as session:
        for answer in session.steps(readings):
            yield float(answer["fault"][0])


if __name__ == "__main__":
    app()
