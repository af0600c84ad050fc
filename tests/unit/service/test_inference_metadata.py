"""What the server tells of its models: as perf_analyzer and tritonclient need it, and true."""

import numpy as np
import pytest

import tiny_models as tiny
from rnnserve.engine.table import TableLimits
from rnnserve.errors import Reason, Refusal
from rnnserve.repository.config import read_message
from rnnserve.triton import grpc_service_pb2 as wire
from rnnserve.triton import model_config_pb2 as triton
from rnnserve.wire.inference.calls import Inference
from rnnserve.wire.inference.repository import Indexed, State
from synchronous_engine import SynchronousEngine
from unit.service.inference_calls import FakeRepository, goes_on, request, start

TODAY_S = 1_790_000_000.0


class Disk(FakeRepository):
    """A repository of one model, as it lies on disk, which writes down what it is asked."""

    def __init__(self, model: tiny.TinyModel, *more: Indexed) -> None:
        super().__init__(Indexed(model.name, 1, State.READY, ""), *more)
        self._model = model
        self.asked: list[tuple[str, str]] = []
        self.refuses: Refusal | None = None

    def config(self, model) -> triton.ModelConfig:
        return read_message(self._model.config, self._model.name)

    async def load(self, name: str) -> None:
        self._ask("load", name)

    async def unload(self, name: str) -> None:
        self._ask("unload", name)

    def _ask(self, what: str, name: str) -> None:
        self.asked.append((what, name))
        if self.refuses is not None:
            raise self.refuses


class Told:
    """The calls of the protocol over one model, whose engine is ticked by hand."""

    def __init__(self, model: tiny.TinyModel, *more: Indexed, **limits) -> None:
        self.engine = SynchronousEngine(model, **limits)
        self.disk = Disk(model, *more)
        self.is_ready = True
        self.inference = Inference(
            self.engine.engine, self.disk, lambda: self.is_ready, lambda: TODAY_S
        )
        self.name = model.name

    def metadata(self) -> wire.ModelMetadataResponse:
        return self.inference.model_metadata(self.name, "")

    def config(self) -> triton.ModelConfig:
        return self.inference.model_config(self.name, "").config

    def statistics(self) -> wire.ModelStatistics:
        (found,) = self.inference.model_statistics(self.name, "").model_stats
        return found

    def ask(self, asked: wire.ModelInferRequest, took_s: float = 0.0) -> list:
        """Take it in, let so much time pass, and run."""
        told: list = []
        self.inference.requests.take(asked, told.append)
        self.engine.now_s += took_s
        self.engine.run_all()
        return told


def shapes(tensors) -> dict[str, tuple[str, list[int]]]:
    return {tensor.name: (tensor.datatype, list(tensor.shape)) for tensor in tensors}


ALL = tiny.all_of_them()


@pytest.mark.parametrize("model", ALL, ids=[model.name for model in ALL])
def test_every_tensor_of_the_configuration_is_in_the_metadata_with_its_rows(model):
    told = Told(model)
    metadata, config = told.metadata(), told.config()
    rows = [-1] if config.max_batch_size else []
    for described, configured in (
        (metadata.inputs, config.input),
        (metadata.outputs, config.output),
    ):
        assert shapes(described) == {
            entry.name: (
                triton.DataType.Name(entry.data_type)[5:].replace("STRING", "BYTES"),
                rows + list(entry.dims),
            )
            for entry in configured
        }
    assert (metadata.name, list(metadata.versions), metadata.platform) == (
        model.name,
        ["1"],
        "onnxruntime_onnx",
    )


def test_neither_states_nor_controls_are_inputs_of_clients():
    metadata = Told(tiny.marked()).metadata()
    assert [tensor.name for tensor in metadata.inputs] == ["x"]
    outputs = [tensor.name for tensor in metadata.outputs]
    assert outputs == ["y", "start_was", "end_was", "ready_was", "id_was"]


def test_a_configuration_is_told_with_what_holds_where_it_says_nothing():
    config = Told(tiny.counting(), table=TableLimits(idle_timeout_s=12.5)).config()
    assert (config.name, config.backend, config.platform) == (
        "counting",
        "onnxruntime",
        "onnxruntime_onnx",
    )
    assert config.version_policy.latest.num_versions == 1
    assert config.default_model_filename == "model.onnx"
    assert [group.name for group in config.instance_group] == ["counting_0"]
    batching = config.sequence_batching
    assert batching.max_sequence_idle_microseconds == 12_500_000
    assert list(batching.oldest.preferred_batch_size) == [8]
    assert [(state.input_name, state.output_name) for state in batching.state] == [
        ("cache_last", "cache_last_next"),
        ("cache_last_len", "cache_last_len_next"),
    ]


@pytest.mark.parametrize(
    ("model", "strategy"),
    [(tiny.accumulator(), "oldest"), (tiny.marked(), "direct"), (tiny.unbatched(), "direct")],
    ids=["oldest", "direct", "none"],
)
def test_a_sequence_models_strategy_is_told_though_its_file_names_none(model, strategy):
    assert Told(model).config().sequence_batching.WhichOneof("strategy_choice") == strategy


def test_what_stands_in_the_file_is_told_as_it_stands():
    model = tiny.timed()
    config = Told(model).config()
    assert config.parameters["time_axis"].string_value == "1"
    assert not Told(tiny.adder()).config().HasField("sequence_batching")
    assert Told(tiny.adder()).config().HasField("dynamic_batching")


def test_the_extensions_are_those_that_are_offered_whole():
    server = Told(tiny.adder()).inference.server_metadata()
    assert server.name == "rnnserve"
    assert {"sequence", "statistics", "model_configuration", "model_repository"} <= set(
        server.extensions
    )
    for missing in ("system_shared_memory", "cuda_shared_memory", "trace", "logging"):
        assert missing not in server.extensions


# Statistics.


def test_statistics_add_up():
    told = Told(tiny.accumulator("INT64"))
    x = {"x": np.ones((1, 1), np.int64)}
    for number in (1, 2, 3):
        told.ask(start("sum_int64", x, number), took_s=0.5)
    told.ask(goes_on("sum_int64", x, 1, sequence_end=True), took_s=0.25)
    found = told.statistics()
    assert (found.name, found.version) == ("sum_int64", "1")
    assert (found.inference_count, found.execution_count) == (4, 4)
    stats = found.inference_stats
    assert (stats.success.count, stats.success.ns) == (4, 1_750_000_000)
    assert (stats.queue.count, stats.queue.ns) == (4, 1_750_000_000)
    parts = (stats.queue, stats.compute_input, stats.compute_infer, stats.compute_output)
    assert sum(part.ns for part in parts) == stats.success.ns
    assert stats.fail.count == 0
    assert found.last_inference == TODAY_S * 1e3


def test_executions_are_told_by_the_rows_that_ran_together():
    told = Told(tiny.adder())
    asked = request("adder", {name: np.ones((3, 4), np.float32) for name in "AB"})
    for _ in range(2):
        told.inference.requests.take(asked, lambda _: None)
    told.engine.run_all()
    told.ask(asked)
    found = told.statistics()
    assert (found.inference_count, found.execution_count) == (9, 2)
    assert found.inference_stats.success.count == 3
    assert {batch.batch_size: batch.compute_infer.count for batch in found.batch_stats} == {
        3: 1,
        6: 1,
    }


def test_a_request_that_fails_in_the_model_is_counted_as_one():
    told = Told(tiny.fragile())
    told.ask(start("fragile", {"x": np.full((1, 1), tiny.FIRST_FAILING)}))
    stats = told.statistics().inference_stats
    assert (stats.fail.count, stats.success.count) == (1, 0)


def test_before_its_first_request_a_model_has_done_nothing():
    found = Told(tiny.adder()).statistics()
    assert found.inference_stats.success.count == found.last_inference == 0
    assert not found.batch_stats


def test_statistics_of_all_models_are_those_of_each():
    told = Told(tiny.adder())
    for name, version in (("", ""), ("adder", ""), ("adder", "1")):
        (found,) = told.inference.model_statistics(name, version).model_stats
        assert found.name == "adder"


# Models that aren't there, and the repository.

MORE = (
    Indexed("adder", 2, State.UNAVAILABLE, "broken"),
    Indexed("coming", 1, State.LOADING, ""),
    Indexed("broken", 0, State.UNAVAILABLE, "no version"),
)


@pytest.mark.parametrize("call", ["model_metadata", "model_config", "model_statistics"])
def test_every_call_tells_alike_why_a_model_is_not_there(call):
    ask = getattr(Told(tiny.adder(), *MORE).inference, call)
    unknown = "Request for unknown model: "
    for name, version, text in (
        ("nobody", "", "'nobody' is not found"),
        ("nobody", "1", "'nobody' is not found"),
        ("adder", "3", "'adder' version 3 is not found"),
        ("adder", "2", "'adder' version 2 is not at ready state"),
        ("coming", "", "'coming' has no available versions"),
        ("broken", "", "'broken' has no available versions"),
    ):
        with pytest.raises(Refusal) as error:
            ask(name, version)
        assert error.value.message == unknown + text
    with pytest.raises(Refusal, match="version should be an integral value > 0"):
        ask("adder", "newest")


def test_a_model_is_ready_while_the_server_is():
    told = Told(tiny.adder(), *MORE)
    assert told.inference.model_ready("adder", "")
    assert told.inference.model_ready("adder", "1")
    assert not told.inference.model_ready("adder", "2")
    told.is_ready = False
    assert not told.inference.server_ready()
    assert told.inference.server_live()
    with pytest.raises(Refusal, match="'nobody' is not found"):
        told.inference.model_ready("nobody", "")


def test_the_index_has_every_version_that_was_found():
    told = Told(tiny.adder(), *MORE)
    everything = [
        (entry.name, entry.version, entry.state, entry.reason)
        for entry in told.inference.index(ready_only=False).models
    ]
    assert everything == [
        ("adder", "1", "READY", ""),
        ("adder", "2", "UNAVAILABLE", "broken"),
        ("coming", "1", "LOADING", ""),
        ("broken", "", "UNAVAILABLE", "no version"),
    ]
    ready = told.inference.index(ready_only=True).models
    assert [entry.name for entry in ready] == ["adder"]
    with pytest.raises(Refusal, match="'repository_name' specification is not supported"):
        told.inference.index(ready_only=False, repository_name="mine")


async def test_models_are_loaded_and_unloaded_by_name():
    told = Told(tiny.adder())
    await told.inference.load(wire.RepositoryModelLoadRequest(model_name="adder"))
    unload = wire.RepositoryModelUnloadRequest(model_name="adder")
    unload.parameters["unload_dependents"].bool_param = True
    await told.inference.unload(unload)
    assert told.disk.asked == [("load", "adder"), ("unload", "adder")]


@pytest.mark.parametrize("key", ["config", "file:1/model.onnx", "mine"])
async def test_a_model_is_loaded_as_it_lies_on_disk_or_not_at_all(key):
    told = Told(tiny.adder())
    load = wire.RepositoryModelLoadRequest(model_name="adder")
    unload = wire.RepositoryModelUnloadRequest(model_name="adder")
    for asked, call in ((load, told.inference.load), (unload, told.inference.unload)):
        asked.parameters[key].string_param = "{}"
        with pytest.raises(Refusal) as error:
            await call(asked)
        assert error.value.reason is Reason.NOT_OFFERED
    assert told.disk.asked == []


@pytest.mark.parametrize(
    ("refusal", "reason", "text"),
    [
        (
            Refusal(Reason.UNKNOWN_MODEL, "no such folder"),
            Reason.UNKNOWN_MODEL,
            "Request for unknown model: 'm' is not found",
        ),
        (
            Refusal(Reason.MODEL_NOT_READY, "version 1: " + "x" * 5000),
            Reason.MODEL_NOT_READY,
            "failed to load 'm', version 1: " + "x" * 989,
        ),
        (Refusal(Reason.NOT_OFFERED, "not here"), Reason.NOT_OFFERED, "not here"),
    ],
)
async def test_what_the_repository_refuses_is_told_in_a_status_that_fits(refusal, reason, text):
    told = Told(tiny.adder())
    told.disk.refuses = refusal
    with pytest.raises(Refusal) as error:
        await told.inference.load(wire.RepositoryModelLoadRequest(model_name="m"))
    assert (error.value.reason, error.value.message) == (reason, text)
