def test_a_sound_server_is_counted_and_the_status_is_0(ask):
    ran = ask("audit")
    assert (ran.code, ran.err) == (0, "")
    assert [line.rsplit(maxsplit=1) for line in ran.out.splitlines()] == [
        ["sessions", "0"],
        ["generations", "0"],
        ["waiting steps", "5"],
        ["waiting bytes", "40"],
        ["tasks", "6"],
    ]


def test_what_is_wrong_stands_below_the_counts_and_the_status_is_1(ask, fake):
    fake.problems = ["slot 3 [b] has two sessions", "x" * 300]
    ran = ask("audit")
    assert ran.code == 1
    assert ran.out.splitlines()[5:] == fake.problems
    assert ran.err.startswith("rnnserve: the books of 127.0.0.1:")
    assert ran.err.count("\n") == 1


def test_problems_are_red_on_a_terminal(ask, fake, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    fake.problems = ["slot 3 has two sessions"]
    assert "\x1b[31mslot 3 has two sessions" in ask("audit").out
