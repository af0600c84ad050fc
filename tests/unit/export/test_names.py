"""Names as they are found outside: which are one state's, which only look alike."""

import pytest

from rnnserve_export.foreign.names import (
    Kinship,
    likeness,
    sounds_like_constant,
    sounds_like_data,
    sounds_like_state,
)

STATES = [
    ("h0", "hn"),
    ("c0", "cn"),
    ("h_0", "h_n"),
    ("hx", "hy"),
    ("h", "h_out"),
    ("h_in", "hn"),
    ("hiddenIn", "hiddenOut"),
    ("state", "stateN"),
    ("state", "nextState"),
    ("in_state0", "out_state0"),
    ("INPUT_STATE", "OUTPUT_STATE"),
    ("x", "x_next"),
    ("x", "next_x"),
    ("prev", "next"),
    ("hidden_in", "hidden_out"),
    ("init_hidden", "final_hidden"),
    ("cache_x", "new_cache_x"),
    ("cache_last_channel", "cache_last_channel_next"),
    ("cache_last_channel_len", "cache_last_channel_next_len"),
    ("past_3", "present_3"),
    ("past_key_values.0.key", "present.0.key"),
    ("states.0", "new_states.0"),
    ("h_7", "new_h_07"),
    ("gru2.state", "new_state_gru2"),
    ("att_cache", "r_att_cache"),
    ("cached_key_0", "new_cached_key_0"),
]


@pytest.mark.parametrize(("before", "after"), STATES)
def test_a_state_and_its_next_are_one_name(before, after):
    assert likeness(before, after).kinship is Kinship.STEPS


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("h0", "cn"),
        ("h0", "h1_next"),
        ("h_1", "new_h_11"),
        ("cn", "c0"),
        ("cache_last_channel_len", "cache_last_channel_next"),
        ("cache_last_channel", "cache_last_channel_next_len"),
        ("past_key_values.0.key", "present.0.value"),
        ("layer_1_head_2", "layer_2_head_1_next"),
        ("input_3", "Identity_1"),
        ("input", "output"),
        ("input_1", "output_1"),
        ("x", "y"),
        ("", ""),
        ("0", "n"),
        ("状態", "状態_次"),
    ],
)
def test_names_that_are_not_one_are_never_taken_for_one(before, after):
    assert likeness(before, after).kinship < Kinship.SIDES


@pytest.mark.parametrize(
    ("before", "after"),
    [("audio_in", "audio_out"), ("rnn_input", "rnn_output"), ("foo_in", "foo_out")],
)
def test_in_and_out_alone_say_nothing_of_steps(before, after):
    assert likeness(before, after).kinship is Kinship.SIDES


def test_of_two_that_share_words_the_one_with_more_of_them_is_nearer():
    one, other = (
        likeness("decoder_mem_2", name).share for name in ("decoder_mem_2_x", "decoder_mem_3_x")
    )
    assert 0 < other < one < 1


@pytest.mark.parametrize("name", ["h", "lstm_c0", "conv_cache", "prevOutput", "audio_cache"])
def test_a_state_may_be_known_by_its_name(name):
    assert sounds_like_state(name)
    assert not sounds_like_data(name)


@pytest.mark.parametrize("name", ["input", "x", "noisy_audio", "token_ids", "melSpec"])
def test_data_may_be_known_by_its_name(name):
    assert sounds_like_data(name)
    assert not sounds_like_state(name)


@pytest.mark.parametrize("name", ["sr", "sample_rate", "sampleRate", "noise_scale"])
def test_a_constant_may_be_known_by_its_name(name):
    assert sounds_like_constant(name)


@pytest.mark.parametrize("name", ["input_3", "srx", "a"])
def test_a_name_may_say_nothing(name):
    kinds = (sounds_like_state, sounds_like_data, sounds_like_constant)
    assert [kind(name) for kind in kinds] == [False] * 3
