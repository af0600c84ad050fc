"""`rnnserve inspect` and `rnnserve import`: the command line's doors to this room."""

from __future__ import annotations

from pathlib import Path

from rnnserve_export.foreign.options import ImportOptions, InspectOptions, Overrules

_INSPECT, _IMPORT, _NOTHING = InspectOptions(), ImportOptions(), Overrules()


def inspect(
    model: Path,
    /,
    *,
    options: InspectOptions = _INSPECT,
    overrules: Overrules = _NOTHING,
) -> None:
    """Look at an ONNX file, and say how it could be served. Nothing is run and nothing is written.

    Shows what the graph takes and gives, which of its inputs are states and which output is the
    next of each (certain, likely or only a guess, and why), which inputs are constants, where the
    rows are, whether the axis behind them can be time, and what stands in the way. The last line is
    the `rnnserve import` that would follow; words in capitals are for you to fill in.

    The options are those of `rnnserve import`: say what you know better, and look again.

    Parameters
    ----------
    model
        An ONNX file, whoever made it.
    """
    # onnx takes a second to load, and a page of help or a wrong option should not wait for it.
    from rich.console import Console

    from rnnserve_export.foreign.inspecting import inspect_file

    inspect_file(model, options, overrules, Console())


def import_model(
    model: Path,
    /,
    *,
    options: ImportOptions = _IMPORT,
    overrules: Overrules = _NOTHING,
) -> None:
    """Publish an ONNX file that somebody else made into a model repository.

    Decides as `rnnserve inspect` does. A guess is never published: where only you can know, it
    stops and names the tensor and the option that decides. Then it writes config.pbtxt and proves
    it in onnxruntime, set up as when serving: the same input gives the same numbers; zeros in give
    finite numbers of the promised shapes; a message cut anywhere gives what it gives whole, or each
    step is a run of its own; a row among others gives what it gives alone, or rows run one at a
    time.

    Parameters
    ----------
    model
        An ONNX file with all its weights inside, whoever made it.
    """
    from rich.console import Console

    from rnnserve_export.foreign.importing import import_file

    import_file(model, options, overrules, Console())
