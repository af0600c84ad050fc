"""Generate the committed stubs from the contracts in this folder.

`python proto/generate.py` writes `service/rnnserve/**/x_pb2.py`, its `.pyi` and, where a file
declares a service, `x_pb2_grpc.py` with its `.pyi`: each where its proto path says, so that no
import is rewritten. `--check` writes nothing and fails when a committed stub differs.
"""

import filecmp
import sys
import tempfile
from pathlib import Path

import grpc_tools
from google.rpc import status_pb2
from grpc_tools import protoc

PROTO = Path(__file__).parent
SERVICE = PROTO.parent / "service"


def generate(target: Path) -> None:
    """Write the stubs of every contract below `target`."""
    sources = sorted(PROTO.rglob("*.proto"))
    with_service = [path for path in sources if "\nservice " in path.read_text()]
    # google/rpc/status.proto stands beside its stub, google/protobuf/*.proto with the compiler.
    includes = [
        PROTO,
        Path(status_pb2.__file__).parents[2],
        Path(grpc_tools.__file__).parent / "_proto",
    ]
    # The plugins stand beside this Python, whether or not its folder is on the path.
    plugins = [
        f"--plugin={name}={Path(sys.executable).parent / name}"
        for name in ("protoc-gen-mypy", "protoc-gen-mypy_grpc")
    ]
    common = ["protoc", *plugins, *(f"-I{path}" for path in includes)]
    messages = [f"--python_out={target}", f"--mypy_out=quiet:{target}"]
    services = [f"--grpc_python_out={target}", f"--mypy_grpc_out=quiet:{target}"]
    for flags, paths in ((messages, sources), (services, with_service)):
        if protoc.main([*common, *flags, *map(str, paths)]):
            raise SystemExit("protoc failed; its message stands above")


def differing() -> list[Path]:
    """The stubs, relative to `service/`, that are not what the contracts give today."""
    with tempfile.TemporaryDirectory() as folder:
        fresh = Path(folder)
        generate(fresh)
        made = {path.relative_to(fresh) for path in fresh.rglob("*_pb2*.py*")}
        committed = {
            path.relative_to(SERVICE)
            for path in SERVICE.rglob("*_pb2*.py*")
            if path.suffix in {".py", ".pyi"}
        }
        return sorted(
            path
            for path in made | committed
            if path not in made
            or path not in committed
            or not filecmp.cmp(fresh / path, SERVICE / path, shallow=False)
        )


def main() -> None:
    if sys.argv[1:] != ["--check"]:
        generate(SERVICE)
        return
    if stale := differing():
        names = ", ".join(map(str, stale))
        raise SystemExit(f"stale stubs: {names}. Run: python proto/generate.py")


if __name__ == "__main__":
    main()
