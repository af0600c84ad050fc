"""tritonclient[http], in the peers' environment: `python -m peers.triton_http HOST:PORT`.

Reads calls from standard input, a line each: `{"method": ..., "arguments": {...}}`; writes a line
for each: `{"result": ...}`, or `{"error": {"status": ..., "message": ...}}` for an exception of
tritonclient's. Ends with its input.
"""

import sys
from typing import Any

from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from peers import lines


def infer(
    client: InferenceServerClient,
    model_name: str,
    inputs: dict[str, Any],
    json_in: bool = False,
    json_out: list[str] | None = None,
    **options: Any,
) -> dict[str, object]:
    """The outputs as arrays. Tensors travel as bytes, but the inputs with `json_in`, and the
    outputs where those that are wanted as JSON are named."""
    tensors = []
    for name, array in inputs.items():
        tensor = InferInput(name, array.shape, np_to_triton_dtype(array.dtype))
        tensors.append(tensor.set_data_from_numpy(array, binary_data=not json_in))
    wanted = json_out and [InferRequestedOutput(name, binary_data=False) for name in json_out]
    result = client.infer(model_name, tensors, outputs=wanted, **options)
    said = result.get_response()
    return {output["name"]: result.as_numpy(output["name"]) for output in said["outputs"]}


def main() -> None:
    client = InferenceServerClient(sys.argv[1])
    for line in sys.stdin:
        call = lines.read(line)
        method, arguments = call["method"], call["arguments"]
        try:
            if method == "infer":
                reply = {"result": infer(client, **arguments)}
            else:
                reply = {"result": getattr(client, method)(**arguments)}
        except InferenceServerException as error:
            reply = {"error": {"status": error.status(), "message": error.message()}}
        print(lines.write(reply), flush=True)


if __name__ == "__main__":
    main()
