import base64
import json
import random
import shutil
import time
from pathlib import Path

import pytest
import splintr
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import CheckpointError
from engine.text.tokenizer import MAX_RUN_CHARS, Tokenizer

ALPHABETS = {
    "latin": "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZéèüßñçøåÆŒİıǅ",
    "contractions": "'s't're'VE'm'Ll'd’",
    "cyrillic": "абвгдежзийклмнопрстуфхцчшщъыьэюяЁЖ",
    "han": "的一是不了人我在有他这中大来上国们说你好世界㐀𠀀〇々",
    "kana": "こんにちはカタカナーッ゛",
    "hangul": "한국어안녕하세요ᄀᆞᆫ",
    "arabic": "مرحبا بالعالمًٌَّ٠١٢",
    "hebrew": "שלום עולםְִֵ",
    "devanagari": "नमस्ते दुनिया१२३्ि",
    "thai": "สวัสดีชาวโลก็่้",
    "emoji": "🌍😀👩‍👩‍👧‍👦🏳️‍🌈👍🏽🇩🇪✨",
    "digits": "0123456789½²Ⅷ٣",
    "code": "{}[]()<>=+-*/%&|^~!?;:,.\"'`#@$\\_\t\n",
    "space": "  \t\n\r\u00a0\u2003\u3000\x0b\x0c\x85",
    "marks": "e\u0301\u0300\u0323\u20dd\u200d\u200b\ufe0f\u0335",
    "controls": "\x00\x01\x07\x1b\x1f\x7f\ufeff\ufffd\ue000\U0010ffff",
    "markers": "<|im_end|>[EOS]<think></think>",
}


def mixed_strings(count: int, seed: int) -> list[str]:
    rng = random.Random(seed)
    strings = []
    for _ in range(count):
        parts = []
        for _ in range(rng.randint(1, 6)):
            alphabet = rng.choice(list(ALPHABETS.values()))
            parts.append("".join(rng.choices(alphabet, k=rng.randint(1, 12))))
        strings.append(rng.choice(["", " ", "\n"]).join(parts))
    return strings


# Kimi K2's vocabulary against an independent implementation


def test_published_vectors(k2_tokenizer: Tokenizer) -> None:
    for text, ids in {
        "Hello, world!": [19180, 11, 2695, 0],
        "12345678901234567890": [6694, 12972, 16242, 16349, 18439, 22523, 2788],
        "Hello 你好 こんにちは 한국어 مرحبا 🌍": [
            *[19180, 220, 33845, 220, 16444, 29194, 6880, 43566, 8831],
            *[78560, 54078, 28763, 61561, 7570, 4265, 1063, 17137, 44755],
        ],
    }.items():
        assert k2_tokenizer.encode(text) == ids


def test_thousands_of_mixed_strings_agree_with_the_oracle(
    k2_tokenizer: Tokenizer, k2_oracle: splintr.Tokenizer
) -> None:
    strings = [*mixed_strings(6000, seed=20250), *ALPHABETS.values(), ""]
    for text in strings:
        ids = k2_tokenizer.encode(text)
        assert ids == k2_oracle.encode_ordinary(text), text
        assert k2_tokenizer.decode(ids) == text


@settings(max_examples=400, deadline=None)
@given(st.text(max_size=40))
def test_any_text_agrees_with_the_oracle(
    k2_tokenizer: Tokenizer, k2_oracle: splintr.Tokenizer, text: str
) -> None:
    assert k2_tokenizer.encode(text) == k2_oracle.encode_ordinary(text)


def test_control_tokens_of_a_template_agree_with_the_oracle(
    k2_tokenizer: Tokenizer, k2_oracle: splintr.Tokenizer
) -> None:
    names = list(k2_tokenizer.special)
    rng = random.Random(7)
    for text in mixed_strings(500, seed=3):
        text += rng.choice(names) + text[::-1] + rng.choice(names)
        assert k2_tokenizer.encode_template(text) == k2_oracle.encode_with_special(text)


def test_the_special_ids_of_kimi_k2(k2_tokenizer: Tokenizer) -> None:
    assert k2_tokenizer.vocab_size == 163840
    assert len(k2_tokenizer.special) == 256
    assert k2_tokenizer.special["<|im_end|>"] == 163586
    assert k2_tokenizer.special["</think>"] == 163607
    assert k2_tokenizer.special["<|reserved_token_163700|>"] == 163700
    assert k2_tokenizer.eos_ids == {163585, 163586}


# What a user types stays text


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_no_text_becomes_a_control_token(tokenizer: Tokenizer, data: st.DataObject) -> None:
    names = list(tokenizer.special)
    part = (
        st.sampled_from(names)
        | st.sampled_from(["<", "|", ">", "im_", "end"])
        | st.text(max_size=5)
    )
    text = "".join(data.draw(st.lists(part, max_size=8)))
    ids = tokenizer.encode(text)
    assert not set(ids) & set(tokenizer.special.values())
    assert tokenizer.decode(ids) == text.encode("utf-8", "replace").decode()


def test_a_lone_surrogate_becomes_a_replacement_character(tokenizer: Tokenizer) -> None:
    assert tokenizer.decode(tokenizer.encode("a\ud800b")) == "a\ufffdb"


def test_template_text_gives_control_tokens(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode_template("<|im_user|>hi<|im_end|>")
    assert ids[0] == tokenizer.special["<|im_user|>"]
    assert ids[-1] == tokenizer.special["<|im_end|>"]
    assert tokenizer.decode(ids[1:-1]) == "hi"


def test_names_that_look_like_words_are_never_control(small_folder: Path, tmp_path: Path) -> None:
    folder = copied(small_folder, tmp_path)
    edit_config(folder, lambda config: config["added_tokens_decoder"].update(added(folder, "the")))
    tokenizer = Tokenizer.from_folder(folder)
    assert tokenizer.special["the"] not in tokenizer.encode_template("the end")


# Long and pathological input


@pytest.mark.parametrize("char", ["x", " ", "^", "好", "\n", "7"])
def test_a_megabyte_of_one_character_takes_seconds_and_comes_back(
    k2_tokenizer: Tokenizer, char: str
) -> None:
    text = char * (1 << 20)
    begun = time.monotonic()
    ids = k2_tokenizer.encode(text)
    assert time.monotonic() - begun < 20
    assert k2_tokenizer.decode(ids) == text


def test_long_runs_are_cut_as_the_published_tokenizer_cuts_them(k2_tokenizer: Tokenizer) -> None:
    run = "ab" * (MAX_RUN_CHARS // 2)
    assert k2_tokenizer.encode(run + "abc d") == k2_tokenizer.encode(run) + k2_tokenizer.encode(
        "abc d"
    )
    blanks = " " * MAX_RUN_CHARS
    assert k2_tokenizer.encode(blanks + "  x") == k2_tokenizer.encode(blanks) + k2_tokenizer.encode(
        "  x"
    )


def test_runs_just_short_of_the_cut_stay_linear(k2_tokenizer: Tokenizer) -> None:
    text = ("x" * (MAX_RUN_CHARS - 1) + " ") * 12
    begun = time.monotonic()
    assert k2_tokenizer.decode(k2_tokenizer.encode(text)) == text
    assert time.monotonic() - begun < 10


# Single tokens


def test_every_token_has_bytes_and_a_name(tokenizer: Tokenizer) -> None:
    for token_id in range(tokenizer.vocab_size):
        assert tokenizer.token_bytes(token_id)
        assert tokenizer.name(token_id)
    assert tokenizer.name(tokenizer.special["<think>"]) == "<think>"
    assert tokenizer.control_name(tokenizer.special["<think>"]) == "<think>"
    assert tokenizer.control_name(65) is None
    assert tokenizer.name(0xFF) == "\\xff"


def test_ids_outside_the_vocabulary(tokenizer: Tokenizer) -> None:
    past = tokenizer.vocab_size + 3
    assert tokenizer.token_bytes(past) == b""
    assert str(past) in tokenizer.name(past)
    with pytest.raises(ValueError, match="-1"):
        tokenizer.token_bytes(-1)


# Folders that lie


def copied(source: Path, target: Path) -> Path:
    for file in source.iterdir():
        shutil.copy(file, target)
    return target


def edit_config(folder: Path, edit) -> None:  # type: ignore[no-untyped-def]
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text())
    edit(config)
    path.write_text(json.dumps(config))


def added(folder: Path, name: str) -> dict[str, dict[str, str]]:
    config = json.loads((folder / "tokenizer_config.json").read_text())
    last = max(map(int, config["added_tokens_decoder"]))
    return {str(last + 1): {"content": name}}


def rank_line(token: bytes, rank: int) -> bytes:
    return base64.b64encode(token) + b" %d\n" % rank


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("tiktoken.model", b""),
        ("tiktoken.model", b"\x80\x04\x95pickle"),
        ("tiktoken.model", b"not-base64! 0\n"),
        ("tiktoken.model", rank_line(b"a", 0) + rank_line(b"b", 5)),
        ("tiktoken.model", rank_line(b"a", 0) + rank_line(b"a", 1)),
        ("tiktoken.model", rank_line(b"a", 0)),
        ("tiktoken.model", b"YQ== 99999999999999999999\n"),
        ("tiktoken.model", b"YQ== -1\n"),
        ("tiktoken.model", rank_line(b"x" * 5000, 0)),
        ("tokenizer_config.json", b"{"),
        ("tokenizer_config.json", b"[" * 100_000),
        ("tokenizer_config.json", b"[]"),
        ("tokenizer_config.json", b'{"added_tokens_decoder": []}'),
        ("tokenizer_config.json", b'{"added_tokens_decoder": {"x": {"content": "<a>"}}}'),
        ("tokenizer_config.json", b'{"added_tokens_decoder": {"3": {"content": "<a>"}}}'),
        ("tokenizer_config.json", b'{"added_tokens_decoder": {"99999999": {"content": "<a>"}}}'),
        ("tokenizer_config.json", b'{"added_tokens_decoder": {"600": {"content": ""}}}'),
        ("tokenizer_config.json", b'{"added_tokens_decoder": {"600": {"content": 3}}}'),
        ("generation_config.json", b'{"eos_token_id": 123456}'),
        ("generation_config.json", b'{"eos_token_id": ["x"]}'),
        ("generation_config.json", b'{"eos_token_id": true}'),
    ],
)
def test_damaged_files_give_a_typed_error(
    small_folder: Path, tmp_path: Path, file: str, content: bytes
) -> None:
    folder = copied(small_folder, tmp_path)
    (folder / file).write_bytes(content)
    with pytest.raises(CheckpointError) as caught:
        Tokenizer.from_folder(folder)
    assert caught.value.code == "tokenizer_damaged"


def test_two_ids_of_one_name_are_refused(small_folder: Path, tmp_path: Path) -> None:
    folder = copied(small_folder, tmp_path)
    edit_config(
        folder, lambda config: config["added_tokens_decoder"].update(added(folder, "<think>"))
    )
    with pytest.raises(CheckpointError, match="two ids"):
        Tokenizer.from_folder(folder)


def test_a_reply_must_be_able_to_end(small_folder: Path, tmp_path: Path) -> None:
    folder = copied(small_folder, tmp_path)
    (folder / "generation_config.json").unlink()
    edit_config(folder, lambda config: config.update(eos_token=None, added_tokens_decoder={}))
    with pytest.raises(CheckpointError, match="ends a reply"):
        Tokenizer.from_folder(folder)


def test_a_missing_vocabulary_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError) as caught:
        Tokenizer.from_folder(tmp_path)
    assert caught.value.code == "tokenizer_missing"
    assert "tiktoken.model" in caught.value.message
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(CheckpointError) as caught:
        Tokenizer.from_folder(tmp_path)
    assert caught.value.code == "tokenizer_unsupported"
