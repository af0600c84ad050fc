"""The protocol's names of data types."""

from functools import cache

import numpy as np

from rnnserve.repository.dtypes import dtype_number
from rnnserve.triton import model_config_pb2 as triton

NAMES: dict[int, str] = {
    number: name.removeprefix("TYPE_").replace("STRING", "BYTES")
    for name, number in triton.DataType.items()
    if number != triton.TYPE_INVALID
}
"""By Triton's number."""


@cache
def name_of(dtype: np.dtype) -> str:
    """The protocol's name of a type: FP32, INT64, BYTES, ..."""
    return NAMES[dtype_number(dtype)]
