import re
from itertools import pairwise

import numpy as np
import pytest

from unit.client.fake_models import LETTERS, letter_logits

TEXT = ("abcdabca\n" * 40)[:-1] + "b"


def bits_per_character(text: str) -> float:
    """The figure from its definition."""
    tokens = [LETTERS.index(letter) for letter in text]
    bits = []
    for seen, (token, following) in enumerate(pairwise(tokens), start=1):
        logits = letter_logits(seen, token).astype(np.float64)
        p = np.exp(logits) / np.exp(logits).sum()
        bits.append(-np.log2(p[following]))
    return float(np.mean(bits))


@pytest.fixture
def text(tmp_path):
    def write(content: str | bytes):
        path = tmp_path / "text.txt"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return str(path)

    return write


@pytest.mark.parametrize("chunk", [["--chunk", "1"], ["--chunk", "7"], ["--chunk", "64"], []])
def test_the_figure_is_its_definition_however_the_text_is_cut(ask, text, chunk):
    ran = ask("score", "letters", text(TEXT), *chunk)
    assert ran.code == 0, ran.err
    found = float(re.match(r"([\d.]+) bits per character", ran.out)[1])
    assert found == pytest.approx(bits_per_character(TEXT), abs=1e-4)
    nats = float(re.search(r"\(([\d.]+) nats\)", ran.out)[1])
    assert nats == pytest.approx(found * np.log(2), abs=1e-4)
    assert f"{len(TEXT)} characters in " in ran.out


def test_the_text_goes_through_one_session_and_the_last_token_is_not_sent(ask, text, fake):
    ask("score", "letters", text(TEXT), "--chunk", "5")
    assert len(fake.kept) == 1
    assert fake.advanced == len(TEXT) - 1


def test_several_chunks_travel_together(ask, text, fake):
    ask("score", "letters", text(TEXT), "--chunk", "1")
    assert len(fake.frames) < len(TEXT) / 2


def test_two_characters_are_enough(ask, text):
    ran = ask("score", "letters", text("ab"))
    assert ran.out.startswith(f"{bits_per_character('ab'):.4f} bits per character")


@pytest.mark.parametrize(
    ("model", "content", "sentence"),
    [
        ("letters", "", "too short"),
        ("letters", "a", "too short"),
        ("letters", b"ab\xff", "not UTF-8"),
        ("mute", "abc", "has no tokenizer"),
        ("count", "abc", "does not predict tokens"),
        ("pair", "abc", "does not predict tokens"),
        ("nobody", "abc", "unknown_model"),
    ],
)
def test_what_cannot_be_scored_is_one_sentence(ask, text, model, content, sentence):
    ran = ask("score", model, text(content))
    assert (ran.code, ran.out) == (1, "")
    assert sentence in ran.err
    assert ran.err.count("\n") == 1


def test_a_missing_file_is_one_sentence(ask):
    ran = ask("score", "letters", "/nowhere.txt")
    assert (ran.code, ran.err) == (1, "rnnserve: /nowhere.txt: No such file or directory\n")


def test_a_chunk_longer_than_the_server_takes_names_the_option(ask, text):
    ran = ask("score", "letters", text(TEXT), "--chunk", "65")
    assert ran.code == 1
    assert "--chunk 65" in ran.err


def test_characters_that_the_tokenizer_does_not_have_are_named(ask, text):
    ran = ask("score", "letters", text("abzzab"))
    assert ran.code == 0
    assert "'z'" in ran.err


def test_line_ends_are_characters_too(ask, text):
    ran = ask("score", "letters", text("a\r\nb"))
    assert "4 characters" in ran.out
    assert "'\\r'" in ran.err
