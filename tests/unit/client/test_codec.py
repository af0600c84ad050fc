import numpy as np
import pytest

from rnnserve.client import BadInput, Tensor
from rnnserve.client.codec import decode, encode
from rnnserve.errors import Reason


def tensor(dtype, *shape):
    return Tensor("x", np.dtype(dtype), shape)


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        ("<i8", [1, -2]),
        ("<u8", [2**63]),
        ("|i1", [127, -128]),
        ("<i8", np.array([1, 2], np.int32)),
        ("<i8", np.array([1, 2], np.uint32)),
        ("<i8", np.array([1, 2], ">i8")),
        ("<i8", [True, False]),
        ("<f4", [1, 2]),
        ("<f4", [0.1, 2]),
        ("<f2", [0.5]),
        ("<f8", np.array([0.1], np.float32)),
        ("<f8", np.array([1], np.int32)),
        ("|b1", [True, False]),
    ],
)
def test_what_loses_nothing_is_converted(dtype, value):
    encoded = encode([value], [tensor(dtype)])
    (back,) = decode(encoded.inputs, [tensor(dtype)], encoded.steps)
    assert back.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(back, np.asarray(value).astype(dtype))


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        ("<i8", [1.0]),
        ("<i8", np.array([1.0])),
        ("<i8", np.array([1], np.uint64)),
        ("<i4", np.array([1], np.int64)),
        ("|i1", [128]),
        ("<u1", [-1]),
        ("<u8", [-1]),
        ("<i8", [2**64]),
        ("<f4", np.array([0.1])),
        ("<f8", np.array([2**53 + 1])),
        ("|b1", [1]),
        ("<i8", ["1"]),
        ("<i8", [None]),
        ("<f4", [1j]),
    ],
)
def test_what_could_change_a_number_is_refused(dtype, value):
    with pytest.raises(BadInput) as caught:
        encode([value], [tensor(dtype)])
    assert caught.value.reason == Reason.WRONG_DTYPE
    assert np.dtype(dtype).name in str(caught.value)


@pytest.mark.parametrize("shape", [(3,), (2, 3, 1), (2, 4), (1, 2, 3, 4)])
def test_a_wrong_shape_names_the_one_expected(shape):
    with pytest.raises(BadInput, match=r"\(T, 2, 3\)") as caught:
        encode([np.zeros(shape, np.float32)], [tensor("<f4", 2, 3)])
    assert caught.value.reason == Reason.WRONG_SIZE


def test_a_ragged_list_is_a_wrong_size():
    with pytest.raises(BadInput) as caught:
        encode([[[1, 2], [3]]], [tensor("<i8", 2)])
    assert caught.value.reason == Reason.WRONG_SIZE


def test_inputs_of_different_lengths_are_refused():
    with pytest.raises(BadInput, match="'x' has 3 steps, 'x' has 2") as caught:
        encode([[1, 2], [1, 2, 3]], [tensor("<i8")] * 2)
    assert caught.value.facts == {"expected": "2"}


def test_bytes_are_little_endian_and_row_major():
    value = np.asfortranarray(np.array([[1, 2], [3, 4]], ">i2"))
    assert encode([value], [tensor("<i2", 2)]).inputs == [bytes([1, 0, 2, 0, 3, 0, 4, 0])]


def test_an_answer_of_another_length_is_not_taken():
    with pytest.raises(ValueError, match="12 bytes of 'x' are not 2 steps"):
        decode([bytes(12)], [tensor("<f4")], 2)
