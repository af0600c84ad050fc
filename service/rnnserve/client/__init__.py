"""The client of rnnserve: AsyncClient for asyncio, Client without."""

from rnnserve.client.async_session import AsyncSession
from rnnserve.client.asynchronous import AsyncClient, AsyncGeneration
from rnnserve.client.codec import Tensor
from rnnserve.client.errors import TRANSPORT, BadInput, ServerError
from rnnserve.client.facts import BrokenModel, Limits, Model, Models
from rnnserve.client.generation import End, Piece, Sampling
from rnnserve.client.plain import Client, Generation, Session

__all__ = [
    "TRANSPORT",
    "AsyncClient",
    "AsyncGeneration",
    "AsyncSession",
    "BadInput",
    "BrokenModel",
    "Client",
    "End",
    "Generation",
    "Limits",
    "Model",
    "Models",
    "Piece",
    "Sampling",
    "ServerError",
    "Session",
    "Tensor",
]
