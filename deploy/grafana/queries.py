"""What the dashboard asks Prometheus, row by row.

`$job`, `$instance` and `$model` are what the viewer chose. What has no model is asked by instance;
budgets concern a whole job. A legend with "limit" or "objective" in it is drawn as a limit.
"""

from dataclasses import dataclass

SERVER = 'job=~"$job", instance=~"$instance"'
MODEL = SERVER + ', model=~"$model"'
RATE = "$__rate_interval"

VARIABLES = {
    "job": "label_values(rnnserve_build_info, job)",
    "instance": 'label_values(rnnserve_build_info{job=~"$job"}, instance)',
    "model": f"label_values(rnnserve_sessions{{{SERVER}}}, model)",
}


@dataclass(frozen=True)
class Panel:
    """Lines by their legend; `unit` is a name of Grafana's."""

    title: str
    description: str
    unit: str
    lines: dict[str, str]


def rate(metric: str, by: str, where: str = MODEL) -> str:
    """How much of a counter comes in a second."""
    return f"sum by ({by}) (rate({metric}{{{where}}}[{RATE}]))"


def total(metric: str, by: str, where: str = MODEL) -> str:
    """What a gauge stands at."""
    return f"sum by ({by}) ({metric}{{{where}}})"


def quantile(share: float, metric: str, by: str, where: str = MODEL) -> str:
    """So many of a histogram's values are at most that."""
    return f"histogram_quantile({share}, {rate(f'{metric}_bucket', f'{by}, le', where)})"


def quantiles(metric: str) -> dict[str, str]:
    """The middle, and what one in a hundred exceeds, of each model."""
    return {
        f"{{{{model}}}} p{share * 100:g}": quantile(share, f"rnnserve_{metric}", "model")
        for share in (0.5, 0.99)
    }


def burnt(metric: str, objective: str) -> dict[str, str]:
    """A ratio of the recording rules over an hour, and what is allowed of it."""
    return {
        "{{job}}": f'job:rnnserve_{metric}:ratio_rate1h{{job=~"$job"}}',
        "objective": f"1 - rnnserve:{objective}:objective",
    }


def beside_limit(metric: str, limit: str) -> dict[str, str]:
    """A gauge of each model, beside what all of them on one server may be together."""
    return {
        "{{instance}} {{model}}": total(f"rnnserve_{metric}", "instance, model"),
        "{{instance}} limit": total(f"rnnserve_{limit}", "instance", SERVER),
    }


TRAFFIC = (
    Panel(
        "Steps",
        "Committed, each model.",
        "si:steps/s",
        {"{{model}}": rate("rnnserve_steps_total", "model")},
    ),
    Panel(
        "Failed operations",
        "By the server's fault or for want of room, in the last hour; what a caller did wrong "
        "doesn't count.",
        "percentunit",
        burnt("failures", "availability"),
    ),
    Panel(
        "Late chunks",
        "Answered more than 50 ms after they had arrived, in the last hour.",
        "percentunit",
        burnt("late_chunks", "latency"),
    ),
)

LATENCY = (
    Panel(
        "How long do chunks take?",
        "From arrival to commit: queue and every run.",
        "s",
        quantiles("step_seconds"),
    ),
    Panel(
        "Queue",
        "From arrival to the first block. Grows where more comes in than can be run.",
        "s",
        quantiles("queue_seconds"),
    ),
    Panel(
        "Run",
        "One run of a batch. Grows with rows and block lengths.",
        "s",
        quantiles("run_seconds"),
    ),
    Panel(
        "Reply",
        "From commit until gRPC has taken the message. Grows where clients read slowly.",
        "s",
        quantiles("reply_seconds"),
    ),
)

GENERATION = (
    Panel(
        "Tokens",
        "Generated, each model.",
        "si:tokens/s",
        {"{{model}}": rate("rnnserve_tokens_total", "model")},
    ),
    Panel(
        "First token",
        "From a call's arrival to its first token.",
        "s",
        quantiles("first_token_seconds"),
    ),
    Panel(
        "Between two tokens",
        "Of one generation, as they are sent.",
        "s",
        quantiles("token_interval_seconds"),
    ),
)

BATCHES = (
    Panel(
        "Rows in a batch",
        "How many sessions share a run.",
        "short",
        quantiles("batch_rows"),
    ),
    Panel(
        "Block length",
        "Steps of each row in a run.",
        "short",
        quantiles("block_steps"),
    ),
    Panel(
        "Runs",
        "Batches run.",
        "ops",
        {"{{model}}": rate("rnnserve_run_seconds_count", "model")},
    ),
)

SESSIONS = (
    Panel("Sessions", "Open now.", "short", beside_limit("sessions", "sessions_limit")),
    Panel(
        "Opened",
        "New sessions.",
        "ops",
        {"{{model}}": rate("rnnserve_sessions_opened_total", "model")},
    ),
    Panel(
        "How do sessions end?",
        "closed: by the client; idle, life: by the server's clock; drained: by its stop; failed: "
        "by an error.",
        "ops",
        {"{{cause}}": rate("rnnserve_sessions_ended_total", "cause")},
    ),
)

ROOM = (
    Panel(
        "Carries",
        "What the open sessions keep.",
        "bytes",
        beside_limit("carry_bytes", "carry_limit_bytes"),
    ),
    Panel(
        "Steps that wait",
        "Taken in and not answered.",
        "short",
        {
            "{{instance}}": total("rnnserve_waiting_steps", "instance", SERVER),
            "{{instance}} limit": total("rnnserve_waiting_limit_steps", "instance", SERVER),
        },
    ),
    Panel(
        "Bytes that wait",
        "Inputs and outputs of those steps.",
        "bytes",
        {
            "{{instance}}": total("rnnserve_waiting_bytes", "instance", SERVER),
            "{{instance}} limit": total("rnnserve_waiting_limit_bytes", "instance", SERVER),
        },
    ),
)

ERRORS = (
    Panel(
        "Refused for want of room",
        "By reason; draining is a server that stops.",
        "ops",
        {"{{reason}}": rate("rnnserve_errors_total", "reason", f'{SERVER}, fault="load"')},
    ),
    Panel(
        "Failed by the server's fault",
        "model_failed: the model didn't take an input; internal: a bug.",
        "ops",
        {"{{reason}}": rate("rnnserve_errors_total", "reason", f'{SERVER}, fault="server"')},
    ),
    Panel(
        "Callers' mistakes",
        "By reason. They burn no budget.",
        "ops",
        {"{{reason}}": rate("rnnserve_errors_total", "reason", f'{SERVER}, fault="caller"')},
    ),
    Panel(
        "Resends",
        "Chunks that came again and were answered again: clients lose their streams.",
        "ops",
        {"{{model}}": rate("rnnserve_resends_total", "model")},
    ),
)

SERVERS = (
    Panel(
        "Is the event loop late?",
        "How much later than asked it wakes up. Everybody waits so long.",
        "s",
        {
            f"{{{{instance}}}} p{share * 100:g}": quantile(
                share, "rnnserve_loop_lag_seconds", "instance", SERVER
            )
            for share in (0.5, 0.99)
        },
    ),
    Panel(
        "Streams",
        "Native streams that are open.",
        "short",
        {"{{instance}}": total("rnnserve_streams", "instance", SERVER)},
    ),
    Panel(
        "Model versions",
        "retiring: with sessions left; unavailable: on disk, and can't be served.",
        "short",
        {"{{model}} {{state}}": total("rnnserve_model_versions", "model, state")},
    ),
    Panel(
        "Who is stopping?",
        "1: draining, no new sessions.",
        "short",
        {"{{instance}}": total("rnnserve_draining", "instance", SERVER)},
    ),
)

PROCESS = (
    Panel(
        "Processor",
        "Cores' worth of time.",
        "short",
        {"{{instance}}": rate("process_cpu_seconds_total", "instance", SERVER)},
    ),
    Panel(
        "Memory",
        "Resident.",
        "bytes",
        {"{{instance}}": total("process_resident_memory_bytes", "instance", SERVER)},
    ),
    Panel(
        "File descriptors",
        "Open.",
        "short",
        {
            "{{instance}}": total("process_open_fds", "instance", SERVER),
            "{{instance}} limit": total("process_max_fds", "instance", SERVER),
        },
    ),
)

ROWS = {
    "Traffic and budgets": TRAFFIC,
    "Where does a step's time go?": LATENCY,
    "Generation": GENERATION,
    "Batches": BATCHES,
    "Sessions": SESSIONS,
    "Room": ROOM,
    "Errors": ERRORS,
    "Servers": SERVERS,
    "Process": PROCESS,
}
