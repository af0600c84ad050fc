"""Those who behave: each does a bounded thing from beginning to end, and leaves nothing."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random

from rnnserve.triton import grpc_service_pb2 as oip
from rnnserve.v1 import rnnserve_pb2 as v1
from rnnserve_bench.errors import BenchProblem
from rnnserve_bench.generate_load import METHOD as GENERATE
from rnnserve_bench.light_channel import LightChannel
from rnnserve_bench.session_talk import LOGIT_BYTES
from rnnserve_bench.soak.talk import VOCABULARY, Talk, tokens
from rnnserve_bench.triton_talk import SERVICE

LENGTHS = (1, 1, 1, 2, 7, 64)
GENERATED = 40


@dataclass
class Stage:
    """What an actor has to do with."""

    target: str
    model: str
    channel: LightChannel
    """Shared by those who don't harm it."""
    rng: Random
    sequence: int = 0
    """Numbers of the Open Inference Protocol's sequences."""

    def ids(self, count: int) -> list[int]:
        return [self.rng.randrange(VOCABULARY) for _ in range(count)]


Actor = Callable[[Stage], Awaitable[None]]


async def steps(stage: Stage) -> None:
    """A session of chunks of every length, with a resend and a reset."""
    talk = Talk(stage.channel, stage.model)
    session, index = await talk.open(), 0
    for _ in range(stage.rng.randrange(3, 12)):
        ids = stage.ids(stage.rng.choice(LENGTHS))
        answer = await talk.step(session, index, ids)
        if stage.rng.random() < 0.2 and await talk.step(session, index, ids) != answer:
            raise BenchProblem("a resend was answered otherwise")
        index += len(ids)
    reset = v1.Reset(session_id=session, index=index)
    await talk.ask(v1.Operation(reset=reset), "was_reset")
    await talk.step(session, index, stage.ids(2))
    await talk.close(session, index + 2)
    await talk.leave()


async def forks(stage: Stage) -> None:
    """Two forks and their parent give the same for the same, and end one by one."""
    talk = Talk(stage.channel, stage.model)
    parent = await talk.open()
    await talk.step(parent, 0, stage.ids(5))
    fork = v1.Operation(fork=v1.Fork(session_id=parent, count=2))
    family = [parent, *(await talk.ask(fork, "forked")).forked.session_ids]
    ids = stage.ids(3)
    answers = {await talk.step(session, 5, ids) for session in family}
    if len(answers) != 1:
        raise BenchProblem("a fork and its parent differ")
    export = v1.Operation(export=v1.Export(session_id=parent))
    blob = (await talk.ask(export, "exported")).exported.blob
    back = v1.Operation(import_blob=v1.Import(model=stage.model, blob=blob))
    family.append((await talk.ask(back, "opened")).opened.session_id)
    for session in family:
        await talk.close(session, 8)
    await talk.leave()


async def generates(stage: Stage) -> None:
    """A text to its end."""
    sampling = v1.Sampling(max_tokens=GENERATED, seed=stage.rng.randrange(1 << 30))
    request = v1.GenerateRequest(model=stage.model, text="It was ", sampling=sampling)
    call = stage.channel.unary_stream(GENERATE)(request.SerializeToString())
    made = 0
    while (answer := await call.read()) is not None:
        made += len(v1.GenerateReply.FromString(answer).tokens)
    if made != GENERATED:
        raise BenchProblem(f"{made} tokens came, {GENERATED} were asked for")


async def infers(stage: Stage) -> None:
    """A sequence of the Open Inference Protocol, three requests long."""
    stage.sequence += 1
    call = stage.channel.unary_unary(f"{SERVICE}/ModelInfer")
    for place in range(3):
        request = oip.ModelInferRequest(model_name=stage.model)
        request.parameters["sequence_id"].int64_param = stage.sequence
        request.parameters["sequence_start"].bool_param = place == 0
        request.parameters["sequence_end"].bool_param = place == 2
        request.inputs.add(name="tokens", datatype="INT64", shape=[1, 4])
        request.raw_input_contents.append(tokens(*stage.ids(4)))
        reply = await call(request.SerializeToString())
        found = oip.ModelInferResponse.FromString(reply or b"").raw_output_contents
        if [len(output) for output in found] != [4 * VOCABULARY * LOGIT_BYTES]:
            raise BenchProblem("a sequence's request was not answered")
