"""The report's prose: what stands in it whatever the figures are."""

ABOUT = """\
A server for recurrent models can be no faster than the runtime it calls and no cheaper than the
wire it speaks. So everything here stands beside the two limits, taken in the same run: **raw** is
`onnxruntime` in a loop, with the carry fed back and nothing around it; the **bare wire** is a
grpc.aio server that answers messages of the same sizes and does nothing else. **torch** is the
same model stepped in eager mode. **Triton** is its server with the Python backend, which runs the
same graph in the same runtime."""

HOW_TO_READ = """\
## How to read this

Whatever is measured runs alone on one core, and the load on another. In each round every
contestant has one window after a warm-up, and every other round goes backwards; a target's ratio is
taken within a round. A cell is the median over the rounds, in brackets the least and the most.
Compare within this page only: another run may meet a busier machine.

A step is one step of one session. p50, p99 and max are of a message and its answer, seen by the
client; of a run, where there is no server. CPU is the server's processes'. *rows* and *block* are
the means of the server's own metrics over window and warm-up. Streams share one connection. The
client sends bytes prepared ahead, builds no message objects, and checks every answer's index and
size. The *light* client is asyncio and just enough HTTP/2; the *grpc* one is grpc.aio's own, which
takes as much of a core for a message as a bare server does."""

TRITON_NOTE = """\
## How Triton is driven

Triton runs sequence batching (oldest), batches of up to 64, with a model that runs all requests of
a call in one batch and keeps its carries in arrays; waiting for larger batches
(`max_queue_delay_microseconds`) was tried and made it slower. It is driven by the same client. With
30 or more sequences on a stream each it ends with a segmentation fault, with fewer streams now and
then, so 64 sequences are driven by unary calls and over one stream, and the better counts."""

NOTES = {
    "frames": "N x M: N frames under way, each with one step of M sessions of its own.",
    "generate": "Temperature 1; every token is delivered and counted. p50 to max are of the first"
    " token. The whole is measured, from the first request to the last answer.",
    "beside": "The figures are the single steps' alone, on a connection of their own.",
    "memory": "Each session is stepped once, so that its carry has been written.",
    "engine": "The same worker runs both, so that nothing else differs.",
}

SHAPES = """\
Single steps at batch 1. For LSTMs of these shapes audited times on a streaming FPGA are published:
2.8 to 8.5 us. The figures here are of one general-purpose core."""
