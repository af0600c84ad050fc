"""Text to tokens and back, also where a token is no character."""

from hypothesis import given
from hypothesis import strategies as st

from rnnserve.repository.tokenizer import Tokenizer
from rnnserve_models.tokenizer import character_tokenizer
from small_models import ALPHABET

TOKENIZER = Tokenizer(character_tokenizer(ALPHABET).to_str())
UNKNOWN = 0


def decoded(tokens: list[int]) -> str:
    decoder = TOKENIZER.decoder()
    return "".join(map(decoder.push, tokens)) + decoder.flush()


@given(st.text(ALPHABET, max_size=300))
def test_a_text_comes_back_as_it_was(text):
    assert decoded(TOKENIZER.encode(text)) == text


def test_a_long_text_is_encoded_as_a_short_one_is():
    text = (ALPHABET + "\n") * 1000
    assert TOKENIZER.encode(text) == TOKENIZER.encode(ALPHABET + "\n") * 1000


def test_tokens_of_unknown_characters_hold_nothing_back_for_ever():
    decoder = TOKENIZER.decoder()
    pushed = [decoder.push(UNKNOWN) for _ in range(100)]
    assert "".join(pushed) + decoder.flush() == "\ufffd" * 100
    assert any(pushed[:8])


def test_the_end_of_a_text_is_not_lost():
    a = TOKENIZER.encode("a")
    assert decoded([*a, UNKNOWN]) == "a\ufffd"
