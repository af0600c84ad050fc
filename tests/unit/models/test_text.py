"""Corpus, tokenizer and windows: what is read is what was written, once."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from rnnserve_models.corpus import standard_library, text_file
from rnnserve_models.errors import CorpusError
from rnnserve_models.stdlib_files import TRAINING_FILES, VALIDATION_FILES
from rnnserve_models.tokenizer import UNKNOWN, character_tokenizer, encode
from rnnserve_models.windows import Lanes

law = settings(deadline=None, max_examples=40)
texts = st.text(st.characters(codec="utf-8"), max_size=200)


def test_no_file_is_both_learnt_and_validated():
    assert len({*TRAINING_FILES, *VALIDATION_FILES}) == len(TRAINING_FILES) + len(VALIDATION_FILES)


def test_the_default_corpus_keeps_about_a_twentieth_for_validation():
    corpus = standard_library()
    assert len(corpus.validation) >= 100_000
    assert 0.03 < len(corpus.validation) / len(corpus.train) < 0.08
    assert corpus == standard_library()


def test_a_missing_module_is_named(tmp_path):
    with pytest.raises(CorpusError, match=r"_collections_abc\.py.*--corpus"):
        standard_library(tmp_path)


def test_a_text_file_is_split_nine_to_one_and_loses_nothing(tmp_path, rhyme):
    path = tmp_path / "rhyme.txt"
    path.write_text(rhyme, encoding="utf-8")
    corpus = text_file(path)
    assert corpus.train + corpus.validation == rhyme
    assert len(corpus.train) == int(0.9 * len(rhyme))


def test_only_newlines_are_normalised(tmp_path):
    path = tmp_path / "mixed.txt"
    path.write_bytes(b"\xef\xbb\xbfa\r\nb\rc\n\td \x00\x0c")
    corpus = text_file(path)
    assert corpus.train + corpus.validation == "\ufeffa\nb\nc\n\td \x00\x0c"


@pytest.mark.parametrize(
    ("contents", "complaint"),
    [(None, "there is no text file"), (b"", "is empty"), (b"ab\xff", "not UTF-8 .at byte 2")],
)
def test_an_unusable_text_file_is_refused_with_the_reason(tmp_path, contents, complaint):
    path = tmp_path / "text.txt"
    if contents is not None:
        path.write_bytes(contents)
    with pytest.raises(CorpusError, match=complaint):
        text_file(path)


def test_two_splits_of_one_text_have_two_hashes(tmp_path):
    hashes = set()
    for name, text in (("a", "abcdefghij" * 2), ("b", "abcdefghij" * 3)):
        (tmp_path / name).write_text(text, encoding="utf-8")
        hashes.add(text_file(tmp_path / name).sha256)
    assert len(hashes) == 2


@law
@given(text=texts)
def test_a_text_comes_back_from_its_own_tokenizer(text):
    tokenizer = character_tokenizer(text)
    tokens = encode(tokenizer, text)
    assert len(tokens) == len(text)
    assert tokenizer.decode(tokens.tolist(), skip_special_tokens=False) == text


@law
@given(text=texts, other=texts)
def test_a_character_never_learnt_is_token_zero(text, other):
    tokens = encode(character_tokenizer(text), other)
    known = [character in text and character != UNKNOWN for character in other]
    assert [bool(token) for token in tokens] == known


def test_a_text_of_many_pieces_is_encoded_as_a_whole(rhyme):
    text = rhyme * 4
    tokenizer = character_tokenizer(text)
    assert len(text) > 2 * 4096
    assert encode(tokenizer, text).tolist() == tokenizer.encode(text).ids


def test_a_saved_tokenizer_is_the_same_tokenizer(tmp_path, rhyme):
    tokenizer = character_tokenizer(rhyme)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    loaded = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert loaded.encode(rhyme).ids == tokenizer.encode(rhyme).ids
    assert loaded.get_vocab() == tokenizer.get_vocab()


@law
@given(batch=st.integers(1, 4), window=st.integers(1, 9), seed=st.integers(0, 5))
def test_lanes_read_the_text_in_order_and_each_epoch_cuts_it_anew(batch, window, seed):
    lanes = Lanes(np.arange(200), batch, window, seed)
    starts = set()
    for epoch in range(3):
        steps = range(epoch * lanes.windows_per_epoch, (epoch + 1) * lanes.windows_per_epoch)
        windows = [lanes.window(step) for step in steps]
        assert [w.fresh for w in windows] == [True] + [False] * (len(windows) - 1)
        read = torch.cat([w.inputs for w in windows] + [windows[-1].targets[:, -1:]], dim=1)
        assert torch.equal(read[:, 1:] % 200, (read[:, :-1] + 1) % 200)
        assert len(read[:, :-1].unique()) == read[:, :-1].numel()
        assert all(torch.equal(w.targets % 200, (w.inputs + 1) % 200) for w in windows)
        starts.add(int(read[0, 0]))
    assert len(starts) > 1


def test_what_a_step_reads_depends_on_the_step_alone():
    tokens = np.random.default_rng(0).integers(0, 9, 100)
    forth, back = Lanes(tokens, 3, 7, seed=1), Lanes(tokens, 3, 7, seed=1)
    read = {step: forth.window(step).inputs for step in range(20)}
    assert all(torch.equal(back.window(step).inputs, read[step]) for step in reversed(range(20)))


def test_a_text_too_short_for_a_window_is_refused_with_what_to_do():
    Lanes(np.arange(21), batch=2, window=10, seed=0)
    with pytest.raises(CorpusError, match="needs 21: give a longer text, or a smaller"):
        Lanes(np.arange(20), batch=2, window=10, seed=0)
