"""Weights on disk: the same bytes for the same tensors, whatever wrote them, and nothing but sound files read."""

import hashlib
import json

import pytest
import safetensors.torch
import torch

from mammozoo.errors import NotFoundError, NotVerifiedError
from mammozoo.models.weights import DTYPES, read_shapes, read_tensors, refuse_non_finite, to_bytes, write_tensors


def many() -> dict[str, torch.Tensor]:
    """Every type, shapes with and without elements, a transposed view, and names that JSON must escape."""
    numbers = torch.arange(6).reshape(2, 3) % 2
    tensors = {f'{i}."ü\\{dtype}': numbers.to(dtype) for i, dtype in enumerate(DTYPES.values())}
    return tensors | {
        "scalar": torch.tensor(2.5),
        "empty": torch.zeros(0, 3),
        "turned": torch.arange(6.0).reshape(2, 3).T,
    }


def test_a_file_by_hand_whatever_the_order(tmp_path) -> None:
    tensors = {"b": torch.tensor([1.0, 2.0]), "a": torch.tensor([7], dtype=torch.int64)}
    path = write_tensors(tmp_path / "a.safetensors", tensors)
    header = (
        b'{"__metadata__":{"format":"pt"},"a":{"dtype":"I64","shape":[1],"data_offsets":[0,8]},'
        b'"b":{"dtype":"F32","shape":[2],"data_offsets":[8,16]}}'
    )
    header += b" " * (-len(header) % 8)
    data = bytes.fromhex("07000000000000000000803f00000040")
    assert path.read_bytes() == len(header).to_bytes(8, "little") + header + data
    tensors = {"w": torch.ones(3), "a.b": torch.zeros(2, 2, dtype=torch.float16), "n": torch.tensor(3)}
    one = write_tensors(tmp_path / "a.safetensors", tensors).read_bytes()
    assert write_tensors(tmp_path / "b.safetensors", dict(reversed(tensors.items()))).read_bytes() == one
    # Pinned: published hashes must not change with a version of anything.
    assert hashlib.sha256(one).hexdigest() == "4a583562ee7ecad63191da422ffc9e6f667a181cf8c4c54a3fdac6b9494bfafb"


def test_the_bytes_are_those_of_the_library_and_are_read_back(tmp_path) -> None:
    tensors = {name: tensor.contiguous() for name, tensor in many().items()}
    path = write_tensors(tmp_path / "a.safetensors", tensors)
    assert path.read_bytes() == safetensors.torch.save(tensors, metadata={"format": "pt"})
    tensors = many()
    path = write_tensors(tmp_path / "a.safetensors", tensors)
    read = read_tensors(path)
    assert read.keys() == tensors.keys()
    assert all(torch.equal(read[name], tensors[name]) and read[name].dtype == tensors[name].dtype for name in tensors)
    assert read_shapes(path)["turned"] == (3, 2)
    assert to_bytes(read_tensors(path)) == path.read_bytes()


def test_numbers_that_are_not_finite_and_what_is_no_file(tmp_path) -> None:
    path = tmp_path / "x.safetensors"
    refuse_non_finite({"a": torch.tensor([1, 2]), "b": torch.tensor([1e38])}, path)
    with pytest.raises(NotVerifiedError, match=r"not finite, in a, b, c and 1 more") as caught:
        refuse_non_finite({name: torch.tensor([0.0, float("nan")]) for name in "abcd"}, path)
    assert str(path) in str(caught.value)
    with pytest.raises(NotVerifiedError, match="in h"):
        refuse_non_finite({"h": torch.tensor([float("inf")], dtype=torch.float16)}, path)
    for read in (read_tensors, read_shapes):
        for path in (tmp_path, tmp_path / "absent.safetensors"):
            with pytest.raises(NotFoundError, match="no weights file"):
                read(path)


# ---------------------------------------------------------------- hostile files


def file(header: object, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


def one(**changes: object) -> dict[str, object]:
    """A header with one tensor of two float32."""
    return {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} | changes}


FOUR_MIB = 4 * 2**20
HOSTILE = {
    "empty": b"",
    "seven bytes": b"\0" * 7,
    "no header": (0).to_bytes(8, "little"),
    "header of 2^63 bytes": file(b"{}", length=2**63),
    "header longer than the file": file(b"{}", length=1000),
    "header too long": file(b"{" + b" " * FOUR_MIB + b"}"),
    "megabytes of metadata": file({"__metadata__": {"x": "y" * FOUR_MIB}}),
    "not JSON": file(b"not json"),
    "not UTF-8": file(b'{"\xff": 1}'),
    "a list": file([]),
    "nested deeply": file(b'{"a":' * 50_000 + b"1" + b"}" * 50_000),
    "truncated": file(one(), b"\0" * 7),
    "bytes behind the end": file(one(), b"\0" * 9),
    "offset past the end": file(one(data_offsets=[0, 80]), b"\0" * 8),
    "offsets turned round": file(one(data_offsets=[8, 0]), b"\0" * 8),
    "negative offset": file(one(data_offsets=[-8, 0]), b"\0" * 8),
    "shape larger than its bytes": file(one(shape=[2000]), b"\0" * 8),
    "shape that overflows": file(one(shape=[2**62, 2**62]), b"\0" * 8),
    "negative shape": file(one(shape=[-2]), b"\0" * 8),
    "a hole": file(one(data_offsets=[8, 16]), b"\0" * 16),
    "overlapping tensors": file(one() | {"b": {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]}}, b"\0" * 12),
    "shared bytes": file(one() | {"b": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}, b"\0" * 8),
    "a name twice": file(
        b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}',
        b"\0" * 8,
    ),
    "an unknown type": file(one(dtype="F33"), b"\0" * 8),
    "a type of no model": file(one(dtype="F8_E4M3", shape=[8]), b"\0" * 8),
    "unsigned numbers": file(one(dtype="U64", shape=[1]), b"\0" * 8),
    "metadata that is no text": file({"__metadata__": {"x": 1}, **one()}, b"\0" * 8),
    "a pickle": b"\x80\x04\x95\x1a\x00\x00\x00\x00\x00\x00\x00\x8c\x02os\x94\x8c\x06system\x94\x93\x94\x8c\x02id\x94\x85\x94R\x94.",
    "a zip, as torch saves": b"PK\x03\x04" + b"\0" * 60,
}  # fmt: skip


@pytest.mark.parametrize("how", HOSTILE)
def test_a_hostile_file_is_refused_by_every_reader(how: str, tmp_path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(HOSTILE[how])
    for read in (read_tensors, read_shapes):
        with pytest.raises(NotVerifiedError, match="not a valid safetensors file") as caught:
            read(path)
        assert str(path) in str(caught.value)
