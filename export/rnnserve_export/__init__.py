"""From a training run or a torch module to a model repository: the graph, its proof, publishing.

`export_module(module, example_inputs, states=..., repository=..., name=...)` is for your own
module; see `rnnserve_export.modules`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rnnserve_export.modules import export_module

__all__ = ["export_module"]


def __getattr__(name: str) -> Any:
    # torch takes seconds to load, and the command line has pages of help that don't need it.
    if name == "export_module":
        from rnnserve_export.modules import export_module

        return export_module
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
