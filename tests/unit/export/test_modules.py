"""`export_module`: somebody's own module is published when it keeps the laws, and else told why."""

import io
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from rnnserve.engine.runner import Runner
from rnnserve.repository.spec import TensorSpec
from rnnserve.repository.tree import read_version, versions
from rnnserve_export import export_module, modules
from rnnserve_export.errors import OtherInterface, ProofFailed
from rnnserve_export.feed import zero_carry
from rnnserve_export.parity import difference, graph_answers, in_chunks, torch_answers
from rnnserve_export.torch_model import TorchModel
from rnnserve_export.triton_rules import triton_problems

from . import own_modules as own

README = Path(__file__).parents[3] / "export" / "README.md"


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """Where modules are exported once for all tests that only look."""
    return tmp_path_factory.mktemp("repository")


@pytest.fixture(scope="module")
def everything(repository):
    module = own.made(own.Everything).train()
    export_module(
        module, own.READINGS, states=module.states, repository=repository, name="everything"
    )
    return read_version(repository, "everything", 1)


@st.composite
def questions(draw):
    chunks = tuple(draw(st.lists(st.integers(1, 9), min_size=1, max_size=6)))
    return draw(st.integers(1, 5)), chunks, draw(st.integers(0, 2**32))


@given(question=questions())
@settings(max_examples=25, deadline=None)
def test_what_is_published_computes_what_the_module_does_in_any_chunks(everything, question):
    B, chunks, seed = question
    rng = np.random.default_rng(seed)
    x = {"x": rng.standard_normal((B, sum(chunks), own.WIDTH), np.float32)}
    carry = zero_carry(everything.spec, B)
    model = TorchModel(own.made(own.Everything), tuple(own.Everything.states), ("x",))
    found = in_chunks(graph_answers(everything.spec, everything.graph), carry, x, chunks)
    assert difference(found, torch_answers(model)(carry, x)).relative < 1e-5


def test_the_config_has_the_states_as_they_were_given_and_the_outputs_as_they_came(everything):
    spec = everything.spec
    assert {e.input_name: (e.shape, e.dtype.name) for e in spec.carry} == {
        "window": ((2, own.WIDTH), "float32"),
        "g": ((2, 6), "float32"),
        "h": ((5,), "float32"),
        "c": ((5,), "float32"),
        "r": ((3,), "float32"),
        "steps": ((), "int64"),
    }
    assert spec.inputs == (TensorSpec("x", np.dtype(np.float32), (own.WIDTH,)),)
    found = {t.name: (t.shape, t.dtype.name) for t in spec.outputs}
    assert found == {
        "scores": ((2,), "float32"),
        "mean": ((), "float32"),
        "step": ((), "int64"),
    }
    assert (spec.has_time, spec.max_batch) == (True, 256)


def test_the_module_is_left_as_it_was(everything):
    module = own.made(own.Everything)
    assert module.training
    assert isinstance(module.gru, torch.nn.GRU)
    assert all(parameter.requires_grad for parameter in module.parameters())


def test_weights_are_constants_that_onnxruntime_packs_ahead(everything):
    graph = onnx.load_model_from_string(everything.graph).graph
    constants = {tensor.name for tensor in graph.initializer}
    recurrent = [node for node in graph.node if node.op_type in ("GRU", "LSTM")]
    assert [node.op_type for node in recurrent] == ["GRU", "GRU", "LSTM"]
    for node in recurrent:
        assert set(node.input[1:4]) <= constants
    assert [node.op_type for node in graph.node].count("Scan") == 1


def test_the_graph_says_nothing_of_where_it_was_made(everything):
    model = onnx.load_model_from_string(everything.graph)
    assert b".py" not in everything.graph
    assert b"own_modules" not in everything.graph
    assert {entry.domain for entry in model.opset_import} == {""}
    assert not model.functions
    assert not model.metadata_props


@pytest.mark.parametrize(("B", "T"), [(1, 1), (2, 9), (7, 30)])
def test_onnxruntime_has_nothing_to_warn_of(everything, capfd, B, T):
    options = ort.SessionOptions()
    options.log_severity_level = 2
    session = ort.InferenceSession(everything.graph, options)
    feed = zero_carry(everything.spec, B) | {"x": np.zeros((B, T, own.WIDTH), np.float32)}
    scores, *_ = session.run(["scores"], feed)
    assert scores.shape == (B, T, 2)
    assert capfd.readouterr().err == ""


def test_triton_could_serve_it_too(everything, repository):
    assert triton_problems(repository, "everything") == []


def test_the_proof_and_golden_vectors_lie_beside_it(everything, repository):
    folder = repository / "everything" / "1"
    proof = json.loads((folder / "proof.json").read_text())
    assert proof["graph_sha256"] == everything.fingerprint
    assert {"any company", "zero carry", "random carry"} < {c["name"] for c in proof["checks"]}
    golden = np.load(folder / "golden.npz", allow_pickle=False)
    runner = Runner(everything.spec, everything.graph)
    carry = tuple(golden[entry.input_name] for entry in everything.spec.carry)
    after, outputs = runner.run(carry, (golden["x"],))
    for tensor, array in zip(everything.spec.outputs, outputs, strict=True):
        np.testing.assert_allclose(array, golden[tensor.name], atol=float(golden["tolerance"]))
    for entry, array in zip(everything.spec.carry, after, strict=True):
        np.testing.assert_allclose(array, golden[entry.output_name], atol=1e-4)


def test_a_module_of_one_step_a_call_has_no_axis_for_time(repository):
    module = own.made(own.OneStep)
    console = Console(file=io.StringIO(), width=100)
    export_module(
        *(module, own.READINGS[:, 0]),
        states=module.states,
        repository=repository,
        name="one_step",
        time=False,
        outputs=["next"],
        console=console,
    )
    assert "chain of 2000 single steps" in console.file.getvalue()
    read = read_version(repository, "one_step", 1)
    assert not read.spec.has_time
    h, x = torch.zeros(2, own.WIDTH), torch.randn(2, 5, own.WIDTH)
    answer = graph_answers(read.spec, read.graph)
    _, found = answer({"h": h.numpy()}, {"x": x.numpy()})
    with torch.no_grad():
        for t in range(5):
            h = module.cell(x[:, t], h)
            np.testing.assert_allclose(found["next"][:, t], h, atol=1e-6)


def test_whole_numbers_have_their_range_and_every_output_its_name(repository):
    module = own.made(own.Tokens)
    word = torch.randint(0, 7, (2, 9))
    examples = {"on": torch.ones(2, 9, dtype=torch.bool), "add": word.int(), "word": word}
    export_module(
        *(module, examples),
        states=module.states,
        repository=repository,
        name="tokens",
        ranges={"word": (0, 7), "add": None},
        outputs=("y", "again", "echo"),
        max_batch=9,
    )
    read = read_version(repository, "tokens", 1)
    limits = {tensor.name: (tensor.low, tensor.high) for tensor in read.spec.inputs}
    assert limits == {"word": (0, 7), "add": (None, None), "on": (None, None)}
    assert read.spec.max_batch == 9
    _, found = graph_answers(read.spec, read.graph)(
        zero_carry(read.spec, 2) | {"kept": np.ones((2, 2), np.float32)},
        {name: tensor.numpy() for name, tensor in examples.items()},
    )
    np.testing.assert_array_equal(found["y"], found["again"])
    np.testing.assert_array_equal(found["echo"], word)


def test_a_carry_that_is_written_into_is_no_harm(tmp_path):
    assert own.exported(own.writes_into_its_carry, tmp_path).is_new


def test_a_graph_that_computes_something_else_is_not_published(tmp_path, monkeypatch):
    def wrong(model, spec):
        other = own.made(own.Bare, lambda module, h, x: (h + x.sum(1), x * 1.001))
        return trace(TorchModel(other, ("h",), ("x",), ("output",)), spec)

    trace = modules.trace
    monkeypatch.setattr(modules, "trace", wrong)
    with pytest.raises(ProofFailed, match=r"is off by .* nothing was published"):
        own.exported(lambda module, h, x: (h + x.sum(1), x * 1.0), tmp_path / "repository")
    assert not (tmp_path / "repository").exists()


def test_the_same_again_publishes_nothing_and_other_weights_the_next_version(tmp_path):
    def scaled(by):
        return lambda module, h, x: (h + x.sum(1), x * by + h[:, None])

    def forgetful(module, h, x):
        y = h[:, None] + x.cumsum(1)
        return y[:, -1], y

    def doubling(module, h, x):
        y = h[:, None] + 2 * x.cumsum(1)
        return y[:, -1], y

    assert own.exported(forgetful, tmp_path).is_new
    assert not own.exported(forgetful, tmp_path).is_new
    assert own.exported(doubling, tmp_path, files={"notes.txt": b"twice"}).version == 2
    assert versions(tmp_path / "m") == [1, 2]
    assert (tmp_path / "m" / "2" / "notes.txt").read_bytes() == b"twice"
    with pytest.raises(OtherInterface):
        own.exported(doubling, tmp_path, outputs=["other"])


def test_help_does_not_wait_for_torch():
    looks = "import sys, rnnserve_export.command; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", looks], check=True)


def test_the_module_of_the_readme_is_published(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _, code, *_ = re.split(r"```python\n|```\n", README.read_text(encoding="utf-8"))
    exec(compile(code, README.name, "exec"), {})
    assert versions(tmp_path / "repository" / "smoother") == [1]
