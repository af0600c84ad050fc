import re
import signal
import subprocess
import sys

from unit.client.fake import PATIENCE_S


def test_the_text_goes_out_and_the_summary_beside_it(ask):
    ran = ask("generate", "letters", "--prompt", "ab", "--max-tokens", "6", "--seed", "5")
    assert (ran.code, ran.out) == (0, "abcdab\n")
    assert re.fullmatch(
        r"6 tokens, [\d,]+ tokens/s, first token [\d.]+ ms, seed 5, ended by max_tokens\n", ran.err
    )


def test_quiet_leaves_the_summary_out(ask):
    ran = ask("generate", "letters", "--prompt", "a", "--max-tokens", "2", "--quiet")
    assert (ran.out, ran.err) == ("ab\n", "")


def test_every_option_reaches_the_server(ask, fake):
    words = "--max-tokens 3 --temperature 0 --top-k 4 --top-p 0.5 --seed 0 --stop x --stop yz "
    words += "--stop-token 8 --stop-token 9 --repetition-penalty 1.5 --logprobs"
    ask("generate", "letters", "--prompt", "da", *words.split())
    sampling = fake.request.sampling
    assert fake.request.text == "da"
    assert (list(sampling.stop_tokens), sampling.repetition_penalty) == ([8, 9], 1.5)
    assert sampling.logprobs
    assert (sampling.max_tokens, sampling.temperature, sampling.top_k) == (3, 0, 4)
    assert (sampling.top_p, sampling.seed, list(sampling.stop)) == (0.5, 0, ["x", "yz"])
    assert sampling.HasField("seed")


def test_a_stop_token_is_written_and_ends_it(ask):
    ran = ask("generate", "letters", "--prompt", "a", "--stop-token", "2")
    assert ran.out == "abc\n"
    assert ran.err.endswith("ended by stop_token\n")


def test_logprobs_stand_on_standard_error_and_leave_the_text_alone(ask):
    ran = ask("generate", "letters", "--prompt", "a", "--max-tokens", "3", "--logprobs", "--quiet")
    assert (ran.code, ran.out) == (0, "abc\n")
    rows = [line.split("│")[1:-1] for line in ran.err.splitlines() if line.startswith("│")]
    assert [[cell.strip() for cell in row] for row in rows] == [
        ["1", "0", "'a'", "100.00%", "0.000"],
        ["2", "1", "'b'", "88.25%", "-0.125"],
        ["3", "2", "'c'", "77.88%", "-0.250"],
    ]
    assert ran.err.endswith("mean ln p -0.125, perplexity 1.133\n")


def test_without_logprobs_no_tokenizer_is_fetched(ask, fake):
    ask("generate", "letters", "--prompt", "a", "--max-tokens", "1")
    assert fake.describes == 0


def test_an_unknown_model_is_the_servers_sentence(ask):
    ran = ask("generate", "nobody", "--prompt", "a")
    assert ran.code == 1
    assert "unknown_model" in ran.err


def test_ctrl_c_in_the_middle_ends_with_130_and_no_traceback(running, fake):
    command = [sys.executable, "-m", "rnnserve", "generate", "letters", "--prompt", "a"]
    command += ["--max-tokens", "0", "--target", running.target]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.read(4) == "abcd"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, errors) == (130, "")
    assert fake.generating_ended.wait(PATIENCE_S)
