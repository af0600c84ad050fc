"""A user's own torch module to a published version: `export_module`."""

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path

from rich.console import Console
from torch import Tensor, nn

from rnnserve.repository.config import format_config, parse_config
from rnnserve.repository.tree import CONFIG, FILE_NAME, GRAPH
from rnnserve_export.candidate import GOLDEN, PROOF, Candidate, release
from rnnserve_export.errors import ExportError, UnservableModule
from rnnserve_export.feed import Range
from rnnserve_export.interface import DEFAULT_MAX_BATCH
from rnnserve_export.parity import torch_answers
from rnnserve_export.proof import double_answers
from rnnserve_export.publish import ModelFolder, Published, checked_name
from rnnserve_export.signature import Examples, named_examples, signature
from rnnserve_export.torch_laws import check_laws
from rnnserve_export.torch_model import TorchModel
from rnnserve_export.tracing import trace


def export_module(
    module: nn.Module,
    example_inputs: Examples,
    *,
    states: Mapping[str, Tensor],
    repository: str | PathLike[str],
    name: str,
    outputs: Sequence[str] = (),
    ranges: Mapping[str, Range | None] | None = None,
    time: bool = True,
    max_batch: int | None = None,
    files: Mapping[str, bytes] | None = None,
    force: bool = False,
    console: Console | None = None,
) -> Published:
    """Publish a torch module that carries something from step to step, proved first.

    The module is called as

        module(carry, x, ...) -> (carry, outputs)

    with a dict `carry` of tensors (N, ...) by the names of `states`, and inputs (N, T, ...) by the
    names that `forward` gives them: rows first, time behind them. N and T are any from 1. It
    returns the carry after the last of the T steps, as a dict of the same names, shapes and types,
    and its outputs (N, T, ...), one answer for each step: a tensor, a tuple of them, or a dict by
    name. It is copied and exported in eval mode, on the CPU.

    It must not look ahead, rows must not influence each other, and all that a step needs from
    before must be in the carry: tried in torch first, then for the graph in onnxruntime against
    torch, over other numbers of rows and steps, cut in chunks, alone and in company, from carries
    that it comes to, and in chains of 2,000 steps.

    Parameters
    ----------
    module
        The module. `nn.LSTM`, `nn.GRU` and `nn.RNN` in it become ONNX's operators.
    example_inputs
        A tensor, several in the order of `forward`, or a dict by name; each (N, T, ...) of real or
        likely values. Of floats the proof draws others with the same mean and deviation.
    states
        What one session begins with, by name, without rows: zeros of each state's shape and type.
        A window of the last 3 inputs of 6 features is `torch.zeros(3, 6)`, a counter
        `torch.zeros((), dtype=torch.int64)`.
    repository
        Folder of models; made if there is none.
    name
        The model's name. A name that is there already gets the next version.
    outputs
        Names of outputs that don't come as a dict; a single one is called `output` otherwise.
    ranges
        (LOW, HIGH) of an input, LOW <= x < HIGH: needed for whole numbers, which the server then
        holds every message against (None: any will do); for floats, where the proof draws from.
    time
        False: a call is one step. Inputs and outputs are (N, ...), without an axis for time, and
        the server makes one call for each step of a message.
    max_batch
        Most rows that the server may run at once; 256, or what an earlier version has.
    files
        What else to put beside the graph, by name; with a `tokenizer.json`, a model of tokens
        generates text.
    force
        Publish a new version even if the newest is this very model.
    console
        Where to show the proof; nothing is shown without one.

    Returns
    -------
    Where the version stands, and whether it is new.

    Raises
    ------
    UnservableModule
        The module can't be streamed or drawn as it is; the message says what to do.
    ProofFailed
        The graph computes something else.
    ExportError
        The name, another model of that name, or the disk stands in the way.
    """
    checked_name(name)
    _check_files(files or {})
    folder = ModelFolder(Path(repository), name)
    there = folder.described()
    rows = max_batch or (there.max_batch if there and there.has_rows else DEFAULT_MAX_BATCH)
    if not states:
        raise UnservableModule(
            "states is empty: a module that carries nothing needs no sessions; export it with "
            "torch.onnx.export and publish the file with `rnnserve import`"
        )
    named = named_examples(module.forward, example_inputs)
    described = signature(
        _copied(TorchModel(module, tuple(states), tuple(named), tuple(outputs), time)),
        named,
        states,
        ranges or {},
        name=name,
        max_batch=rows,
    )
    model, spec, feed = described.model, described.spec, described.feed
    # A configuration that the server wouldn't read is never published.
    parse_config(format_config(spec), spec.name, spec.version)
    folder.check_interface(spec)
    check_laws(model, feed)
    double = double_answers(model, feed)
    candidate = Candidate(
        model,
        trace(model, spec),
        feed,
        double or torch_answers(model),
        "torch, float64" if double else "torch",
        files or {},
    )
    return release(candidate, Path(repository), force=force, console=console or Console(quiet=True))


def _copied(model: TorchModel) -> TorchModel:
    try:
        return model.twin()
    except Exception as error:  # whatever a user's module raises
        raise UnservableModule(
            f"the module can't be copied ({type(error).__name__}: {error}): keep no results in its "
            "attributes"
        ) from error


def _check_files(files: Mapping[str, bytes]) -> None:
    for name in files:
        if not FILE_NAME.fullmatch(name) or name in (CONFIG, GRAPH, GOLDEN, PROOF):
            raise ExportError(f"{name!r} can't be the name of a file beside the graph")
