"""YAML that is damaged, hostile or no configuration."""

import string
from pathlib import Path
from typing import Any

import pytest

from hsl.errors import HslError
from hsl.options.yamls import BadYaml, parse_yaml, read_yaml

LAUGHS = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{new}: &{new} [{','.join(['*' + old] * 9)}]\n"
    for old, new in zip(string.ascii_lowercase, string.ascii_lowercase[1:9], strict=False)
)
BAD = {
    "recursive list": "a: &a [*a]\n",
    "recursive mapping": "model: &m\n  class_path: x.Y\n  init_args: *m\n",
    "billion laughs": LAUGHS,
    "nested": "data: " + "[" * 20_000,
    "nested and whole": "data: " + "[" * 20_000 + "]" * 20_000,
    "nested mappings": "".join(" " * i + f"a{i}:\n" for i in range(500)),
    "digits": "n: " + "9" * 5_000,
    "runs": "a: !!python/object/apply:os.system ['touch pwned']\n",
    "name": "a: !!python/name:os.system\n",
    "no YAML": "a: [1,\nb: }",
    "an unknown alias": "a: *nothing\n",
    "a list for a key": "? [1, 2]\n: 3\n",
    "two documents": "a: 1\n---\nb: 2\n",
    "control character": "a: '\x07'\n",
    "a key twice": "a: 1\nb: 2\na: 3\n",
    "a key twice, deep": "a:\n- {b: {c: 1, 'c': 2}}\n",
    "long": "a: " + "x" * 2**23,
}


@pytest.mark.parametrize("which", BAD)
def test_one_line(which: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("some.yaml").write_text(BAD[which])
    with pytest.raises(BadYaml):
        parse_yaml(BAD[which])
    with pytest.raises(HslError, match=r"^some\.yaml: ") as refused:
        read_yaml("some.yaml")
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 200
    assert not Path("pwned").exists()


def test_not_utf_8(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes("name: L\xe4\n".encode("latin-1"))
    with pytest.raises(HslError, match="UTF-8"):
        read_yaml(tmp_path / "latin.yaml")
    with pytest.raises(HslError, match="no such file"):
        read_yaml(tmp_path / "none.yaml")


def test_what_is_good_is_read(tmp_path: Path) -> None:
    """With references, a byte order mark and numbers as jsonargparse reads them."""
    text = "a: &a {lr: 1e-3, day: 2020-01-01}\nb: *a\nc: [1, null, true, x]\n"
    wanted: dict[str, Any] = {"lr": 0.001, "day": "2020-01-01"}
    wanted = {"a": wanted, "b": wanted, "c": [1, None, True, "x"]}
    assert parse_yaml(text) == wanted
    (tmp_path / "a.yaml").write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    assert read_yaml(tmp_path / "a.yaml") == wanted
    assert parse_yaml("") is None


def test_a_merged_key_may_be_given_again() -> None:
    text = "deep: {base: &b {<<: {x: 1}, x: 2}}\ntop: {<<: *b, x: 3}\n"
    assert parse_yaml(text) == {"deep": {"base": {"x": 2}}, "top": {"x": 3}}
