"""The data types of Triton's configuration (numbers) as numpy has them."""

import numpy as np

from rnnserve.errors import ModelProblem
from rnnserve.triton import model_config_pb2 as triton

NUMPY_DTYPES: dict[int, np.dtype] = {
    triton.TYPE_BOOL: np.dtype(np.bool_),
    triton.TYPE_UINT8: np.dtype(np.uint8),
    triton.TYPE_UINT16: np.dtype("<u2"),
    triton.TYPE_UINT32: np.dtype("<u4"),
    triton.TYPE_UINT64: np.dtype("<u8"),
    triton.TYPE_INT8: np.dtype(np.int8),
    triton.TYPE_INT16: np.dtype("<i2"),
    triton.TYPE_INT32: np.dtype("<i4"),
    triton.TYPE_INT64: np.dtype("<i8"),
    triton.TYPE_FP16: np.dtype("<f2"),
    triton.TYPE_FP32: np.dtype("<f4"),
    triton.TYPE_FP64: np.dtype("<f8"),
    # Text, as Python has it: numpy knows no type for it that onnxruntime takes.
    triton.TYPE_STRING: np.dtype(object),
}
NUMBERS: dict[np.dtype, int] = {dtype: number for number, dtype in NUMPY_DTYPES.items()}


def numpy_dtype(number: int, tensor: str) -> np.dtype:
    """The numpy dtype of Triton's `number`; ModelProblem names the tensor when there is none."""
    try:
        return NUMPY_DTYPES[number]
    except KeyError:
        name = triton.DataType.Name(triton.DataType.ValueType(number))
        raise ModelProblem(f"tensor {tensor!r}: data type {name} is not served") from None


def dtype_number(dtype: np.dtype) -> int:
    """Triton's number of a numpy dtype; the same number in rnnserve.v1."""
    return NUMBERS[dtype.newbyteorder("<")]
