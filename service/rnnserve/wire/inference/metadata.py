"""What the server and a model are, in the protocol's messages."""

import rnnserve
from rnnserve.engine.engine import Engine
from rnnserve.engine.model import Model
from rnnserve.repository.limits import BACKEND, PLATFORM
from rnnserve.repository.tree import GRAPH
from rnnserve.triton import grpc_service_pb2 as wire
from rnnserve.triton import model_config_pb2 as triton
from rnnserve.wire.inference.datatypes import NAMES

EXTENSIONS = (
    "sequence",
    "sequence(string_id)",
    "model_repository",
    "model_configuration",
    "binary_tensor_data",
    "statistics",
)
"""Of Triton's, those that are offered here whole."""


def server_metadata() -> wire.ServerMetadataResponse:
    return wire.ServerMetadataResponse(
        name="rnnserve", version=rnnserve.__version__, extensions=EXTENSIONS
    )


def model_metadata(
    model: Model, config: triton.ModelConfig, versions: list[int]
) -> wire.ModelMetadataResponse:
    """What clients give and get: neither states nor controls."""
    return wire.ModelMetadataResponse(
        name=model.spec.name,
        versions=map(str, versions),
        platform=PLATFORM,
        inputs=[_tensor(entry, config) for entry in config.input],
        outputs=[_tensor(entry, config) for entry in config.output],
    )


def filled_config(engine: Engine, model: Model, config: triton.ModelConfig) -> triton.ModelConfig:
    """The configuration with what holds where it says nothing; `config` itself is changed."""
    config.backend, config.platform = BACKEND, PLATFORM
    config.default_model_filename = config.default_model_filename or GRAPH
    if not config.HasField("version_policy"):
        config.version_policy.latest.num_versions = 1
    if not config.instance_group:
        config.instance_group.add(
            name=f"{config.name}_0", kind=triton.ModelInstanceGroup.KIND_CPU, count=1
        )
    batching = config.sequence_batching
    if model.spec.is_sequential:
        idle_s = engine.table.idle_timeout_s(model)
        batching.max_sequence_idle_microseconds = round(idle_s * 1e6)
        if batching.HasField("oldest") and not batching.oldest.preferred_batch_size:
            batching.oldest.preferred_batch_size.append(max(1, config.max_batch_size))
        elif not batching.HasField("oldest"):
            batching.direct.SetInParent()
    return config


def _tensor(
    entry: triton.ModelInput | triton.ModelOutput, config: triton.ModelConfig
) -> wire.ModelMetadataResponse.TensorMetadata:
    rows = [-1] if config.max_batch_size else []
    return wire.ModelMetadataResponse.TensorMetadata(
        name=entry.name, datatype=NAMES[entry.data_type], shape=[*rows, *entry.dims]
    )
