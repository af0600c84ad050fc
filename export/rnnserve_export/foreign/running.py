"""A foreign graph in onnxruntime, through the server's own runner; failures in words."""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rnnserve.engine.runner import Runner
from rnnserve.errors import ModelProblem
from rnnserve.repository.spec import ModelSpec
from rnnserve_export.foreign.errors import Disproved

_PREFIX = re.compile(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ")
_PLACE = re.compile(r"\S+\.(?:cc|h):\d+ ")
MAX_CHARACTERS = 300


def load(spec: ModelSpec, graph: bytes) -> Runner:
    """The graph, set up as when serving. Raises Disproved: it doesn't load, or isn't as `spec`."""
    try:
        with quiet():
            return Runner(spec, graph)
    except ModelProblem as problem:
        if problem.__cause__ is None:
            raise Disproved(str(problem)) from None
        raise Disproved(
            f"onnxruntime doesn't take the graph: {in_words(problem.__cause__)}"
        ) from None


def in_words(error: BaseException) -> str:
    """What onnxruntime says, in one line and without the places in its source."""
    text = _PREFIX.sub("", " ".join(str(error).split()))
    text = _PLACE.sub("", text)
    return text if len(text) <= MAX_CHARACTERS else text[: MAX_CHARACTERS - 3] + "..."


@contextmanager
def quiet() -> Iterator[None]:
    """onnxruntime writes failures to the standard error as well; here some are expected."""
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
