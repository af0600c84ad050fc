"""The Open Inference Protocol over HTTP and JSON, for curl, browsers and tritonclient[http].

    server.py       connections, start and stop
    guard.py        around every handler: errors, CORS (off)
    routes.py       which call is at which path
    inference.py    requests and replies as JSON, with bytes behind it; tensors.py: their elements
    generation.py   text, at once or as server-sent events (readers.py)
    document.py     JSON from outside, read strictly

Thin: JSON becomes a message of the protocol, `wire/inference/` answers it, and the answer becomes
JSON. Alone imports aiohttp.
"""
