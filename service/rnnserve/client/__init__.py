"""The client of rnnserve: AsyncClient for asyncio, Client without; and fleets of servers."""

from rnnserve.client.async_fleet import AsyncFleet
from rnnserve.client.async_generation import AsyncGeneration
from rnnserve.client.async_session import AsyncSession
from rnnserve.client.asynchronous import AsyncClient
from rnnserve.client.carry import Carry
from rnnserve.client.codec import Tensor
from rnnserve.client.errors import TRANSPORT, BadInput, ServerError
from rnnserve.client.facts import Audit, BrokenModel, Cost, Costs, Limits, Model, Models
from rnnserve.client.generation import End, Piece, Sampling
from rnnserve.client.plain import Client
from rnnserve.client.plain_fleet import Fleet
from rnnserve.client.plain_generation import Generation
from rnnserve.client.plain_session import Session

__all__ = [
    "TRANSPORT",
    "AsyncClient",
    "AsyncFleet",
    "AsyncGeneration",
    "AsyncSession",
    "Audit",
    "BadInput",
    "BrokenModel",
    "Carry",
    "Client",
    "Cost",
    "Costs",
    "End",
    "Fleet",
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
