from hypothesis import given, settings
from hypothesis import strategies as st

from engine.text.utf8 import TextStream


@settings(max_examples=200)
@given(st.binary(max_size=40) | st.text(max_size=20).map(str.encode), st.data())
def test_any_cutting_gives_what_decoding_at_once_gives(raw: bytes, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=6)))
    stream = TextStream()
    parts = [
        stream.push(raw[start:end])
        for start, end in zip([0, *cuts], [*cuts, len(raw)], strict=True)
    ]
    assert "".join(parts) + stream.flush() == raw.decode("utf-8", "replace")


def test_a_character_in_four_pieces_comes_out_once_and_whole() -> None:
    stream = TextStream()
    parts = [stream.push(bytes([value])) for value in "🌍".encode()]
    assert parts == ["", "", "", "🌍"]
    assert stream.flush() == ""


def test_after_a_flush_the_stream_is_like_new() -> None:
    stream = TextStream()
    assert stream.push("é".encode()[:1]) == ""
    assert stream.flush() == "\ufffd"
    assert stream.push("é".encode()) == "é"
