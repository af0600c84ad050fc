"""What a server process logs: every line an object, one a session, and nothing that is secret."""

import json

from rnnserve.client import Client
from server_process import ServerProcess
from small_models import publish, small_model


def test_a_session_is_one_line_and_no_step_is_any(tmp_path):
    publish(small_model("gru", 1), tmp_path)
    with ServerProcess(tmp_path, "--log-format", "json") as server:
        with Client(server.target) as client, client.open("gru1") as session:
            session_id = session.id
            for token in range(20):
                session.step([token])
        assert server.stop() == 0
    lines = [json.loads(line) for line in server.log]
    assert all({"time", "level", "logger", "message"} <= set(line) for line in lines)
    (ended,) = [line for line in lines if line["logger"] == "rnnserve.sessions"]
    assert ended["session"] == session_id[:6]
    told = {key: ended[key] for key in ("model", "cause", "steps", "chunks", "resends")}
    assert told == {"model": "gru1", "cause": "closed", "steps": 20, "chunks": 20, "resends": 0}
    assert session_id not in "".join(server.log)
    # Loading, ready, the stop: nothing that grows with the steps.
    assert len(lines) < 20
