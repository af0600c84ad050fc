"""The plain client in the asyncio client's clothes, so that one suite runs over both."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from rnnserve.client import Client


class AwaitedClient:
    """Blocks the loop, which has nothing else to do in these tests."""

    def __init__(self, plain: Client) -> None:
        self._plain = plain

    async def wait_ready(self, timeout_s):
        return self._plain.wait_ready(timeout_s)

    async def models(self):
        return self._plain.models()

    async def describe(self, *words, **more):
        return self._plain.describe(*words, **more)

    async def tokenizer(self, name):
        return self._plain.tokenizer(name)

    @asynccontextmanager
    async def open(self, *words, **more):
        with self._plain.open(*words, **more) as session:
            yield AwaitedSession(session)

    @asynccontextmanager
    async def restore(self, *words):
        with self._plain.restore(*words) as session:
            yield AwaitedSession(session)

    async def audit(self):
        return self._plain.audit()

    def generate(self, *words, **more):
        return AwaitedGeneration(self._plain.generate(*words, **more))


class AwaitedSession:
    def __init__(self, plain) -> None:
        self._plain = plain

    def __getattr__(self, name):
        return getattr(self._plain, name)

    async def __aenter__(self):
        self._plain.__enter__()
        return self

    async def __aexit__(self, *error):
        self._plain.__exit__(*error)

    async def step(self, *arrays, **more):
        return self._plain.step(*arrays, **more)

    async def steps(self, chunks) -> AsyncIterator:
        for answer in self._plain.steps(chunks):
            yield answer

    async def reset(self, **more):
        return self._plain.reset(**more)

    async def fork(self, *words):
        return [AwaitedSession(fork) for fork in self._plain.fork(*words)]

    async def export(self):
        return self._plain.export()

    async def locate(self):
        return self._plain.locate()

    def generate(self, *words, **more):
        return AwaitedGeneration(self._plain.generate(*words, **more))

    async def close(self):
        return self._plain.close()


class AwaitedGeneration:
    def __init__(self, plain) -> None:
        self._plain = plain

    @property
    def end(self):
        return self._plain.end

    @property
    def fork(self):
        return self._plain.fork and AwaitedSession(self._plain.fork)

    async def __aiter__(self):
        pieces = iter(self._plain)
        try:
            for piece in pieces:
                yield piece
        finally:
            pieces.close()
