"""What of Triton's configuration is not served, and what is read and changes no answer.

A field that can't be honoured stops its model by name. Fields that say where or how fast something
runs are taken note of: the answers are the same without them.
"""

from collections.abc import Iterator

from rnnserve.errors import ModelProblem
from rnnserve.repository.parameters import Words
from rnnserve.triton import model_config_pb2 as triton

BACKEND = "onnxruntime"
PLATFORM = "onnxruntime_onnx"


def refuse_unserved(config: triton.ModelConfig) -> None:
    """Raises ModelProblem, which names the field."""
    for field, why in _unserved(config):
        raise ModelProblem(f"config.pbtxt: {field}: {why}")


def notes_on(config: triton.ModelConfig, words: Words) -> tuple[str, ...]:
    """What is read and changes no answer, in words."""
    return tuple(_notes(config, words))


def _unserved(config: triton.ModelConfig) -> Iterator[tuple[str, str]]:
    if config.backend not in ("", BACKEND):
        yield "backend", f"only {BACKEND} is served, found {config.backend!r}"
    if config.platform not in ("", PLATFORM):
        yield "platform", f"only {PLATFORM} is served, found {config.platform!r}"
    if config.HasField("ensemble_scheduling"):
        yield "ensemble_scheduling", "a model is one graph here"
    if config.model_transaction_policy.decoupled:
        yield "model_transaction_policy.decoupled", "a request has one reply here"
    if config.response_cache.enable:
        yield "response_cache.enable", "answers are not cached"
    if config.batch_input:
        yield "batch_input", "the graph gets its inputs as they came"
    if config.batch_output:
        yield "batch_output", "the reply has the outputs as the graph gave them"
    if config.model_operations.op_library_filename:
        yield "model_operations.op_library_filename", "custom operators are not loaded"
    if config.model_repository_agents.agents:
        yield "model_repository_agents", "a model is served as it lies on disk"
    yield from _tensors(config)
    yield from _batching(config)


def _tensors(config: triton.ModelConfig) -> Iterator[tuple[str, str]]:
    for entry in config.input:
        for field in (
            "is_shape_tensor",
            "allow_ragged_batch",
            "optional",
            "is_non_linear_format_io",
        ):
            if getattr(entry, field):
                yield f"input {entry.name!r}: {field}", "onnxruntime has no such input"
    for output in config.output:
        for field in ("is_shape_tensor", "is_non_linear_format_io"):
            if getattr(output, field):
                yield f"output {output.name!r}: {field}", "onnxruntime has no such output"


def _batching(config: triton.ModelConfig) -> Iterator[tuple[str, str]]:
    batching = config.dynamic_batching
    if config.sequence_batching.iterative_sequence:
        yield "sequence_batching.iterative_sequence", "a request is run once"
    if batching.priority_levels or batching.priority_queue_policy:
        yield "dynamic_batching.priority_levels", "requests have no priorities here"
    policy = batching.default_queue_policy
    if policy.timeout_action != triton.ModelQueuePolicy.REJECT:
        yield (
            "dynamic_batching.default_queue_policy.timeout_action",
            "what is too late is refused here, never only delayed",
        )


def _notes(config: triton.ModelConfig, words: Words) -> Iterator[str]:
    groups = config.instance_group
    if any(group.kind == triton.ModelInstanceGroup.KIND_GPU for group in groups):
        yield "instance_group: KIND_GPU, and it runs on the CPU"
    if any(group.count > 1 for group in groups):
        yield "instance_group: one instance runs, in batches"
    if config.HasField("optimization"):
        yield "optimization: onnxruntime is set up for one step at a time"
    if config.runtime:
        yield "runtime: there is one"
    if config.model_warmup:
        yield "model_warmup: the trial at loading takes its place"
    if any(output.label_filename for output in config.output):
        yield "output.label_filename: classification is not offered"
    if config.cc_model_filenames:
        yield "cc_model_filenames: default_model_filename is served"
    strategy = config.sequence_batching.WhichOneof("strategy_choice")
    if strategy == "direct" and config.sequence_batching.direct.max_queue_delay_microseconds:
        yield "sequence_batching.direct: steps that wait run together, and nothing is delayed"
    if config.dynamic_batching.max_queue_delay_microseconds:
        yield "dynamic_batching: requests that wait run together, and nothing is delayed"
    if words.others:
        yield f"parameters: {', '.join(words.others)}"
