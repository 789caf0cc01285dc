"""Where a template comes from, and what those of others may do."""

import json
import time
from pathlib import Path

import pytest

from engine.errors import CheckpointError, RequestError
from engine.text.chat_template import OWN_TEMPLATE, ChatTemplate
from engine.text.tokenizer import Tokenizer

USER = {"role": "user", "content": "hi"}


def test_a_checkpoints_own_template_wins(tokenizer: Tokenizer, tmp_path: Path) -> None:
    assert ChatTemplate.from_folder(tmp_path, tokenizer).source == OWN_TEMPLATE.read_text()
    config = tmp_path / "tokenizer_config.json"
    config.write_text(json.dumps({"chat_template": "from the config"}))
    assert ChatTemplate.from_folder(tmp_path, tokenizer).render([USER]).text == "from the config"
    named = [{"name": "tool_use", "template": "no"}, {"name": "default", "template": "named"}]
    config.write_text(json.dumps({"chat_template": named}))
    assert ChatTemplate.from_folder(tmp_path, tokenizer).render([USER]).text == "named"
    (tmp_path / "chat_template.jinja").write_text("from the file")
    assert ChatTemplate.from_folder(tmp_path, tokenizer).render([USER]).text == "from the file"


@pytest.mark.parametrize("content", [b"{% for %}", b"\xff\xfe", b"x" * (300 << 10), b"{{ 'a" * 9])
def test_a_template_that_cannot_be_used(
    tokenizer: Tokenizer, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "chat_template.jinja").write_bytes(content)
    with pytest.raises(CheckpointError):
        ChatTemplate.from_folder(tmp_path, tokenizer)


def test_loops_can_be_left_early(tokenizer: Tokenizer) -> None:
    source = "{% for i in range(9) %}{% if i == 2 %}{% break %}{% endif %}{{ i }}{% endfor %}"
    assert ChatTemplate(source, tokenizer).render([USER]).text == "01"


# Hostile templates and messages


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ messages.append(1) }}",
        "{{ messages[0].update(role='x') }}",
        "{{ cycler.__init__.__globals__ }}",
        "{{ 'x' * 999999999 }}",
        "{{ [0] * 999999999 }}",
        "{{ 9 ** 999999999 }}",
        "{{ '%999999999d' % 1 }}",
        "{{ '{:999999999}'.format(1) }}",
        "{{ 'x'.center(999999999) }}",
        "{{ 'x' | center(999999999) }}",
        "{{ range(999999999) | list }}",
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{% for a in range(99999) %}{{ 'a' * 9999 }}{% endfor %}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{% set n = namespace(s='xxxxxxxx') %}"
        "{% for i in range(60) %}{% set n.s = n.s + n.s %}{% endfor %}",
        "{% set n = namespace(s='xxxxxxxx') %}"
        "{% for i in range(60) %}{% set n.s = n.s ~ n.s %}{% endfor %}",
        "{% set n = namespace(s='xxxxxxxx') %}"
        "{% for i in range(60) %}{% set n.s = n.s | replace('x', n.s) %}{% endfor %}",
        "{% set n = namespace(s='xxxxxxxx') %}"
        "{% for i in range(60) %}{% set n.s = n.s.replace('x', n.s) %}{% endfor %}",
        "{% set n = namespace(s='xxxxxxxx') %}"
        "{% for i in range(60) %}{% set n.s = n.s.join(n.s) %}{% endfor %}",
        "{% set n = namespace(s='xxxxxxxx') %}"
        "{% for i in range(60) %}{% set n.s = [n.s, n.s] | join %}{% endfor %}",
        "{% set n = namespace(s=['x']) %}"
        "{% for i in range(60) %}{% set n.s = n.s + n.s %}{% endfor %}",
        "{% include '/etc/passwd' %}",
        "{{ raise_exception('not for you') }}",
        "{{ messages[0].nothing.at_all }}",
        "{{ 1 / 0 }}",
    ],
)
def test_a_hostile_template_ends_with_an_error_and_soon(tokenizer: Tokenizer, source: str) -> None:
    begun = time.monotonic()
    with pytest.raises((RequestError, CheckpointError)):
        ChatTemplate(source, tokenizer).render([USER])
    assert time.monotonic() - begun < 15


def test_a_template_may_refuse(tokenizer: Tokenizer) -> None:
    with pytest.raises(RequestError) as caught:
        ChatTemplate("{{ raise_exception('roles must alternate') }}", tokenizer).render([USER])
    assert caught.value.code == "template_refused"
    assert "roles must alternate" in caught.value.message
