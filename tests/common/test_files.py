import json

import pytest

from scripts.common.cli import UserError, run_cli
from scripts.common.files import format_json, md5_bytes, md5_file, read_json, whole_file


def test_whole_file_appears_at_the_end_or_not_at_all(tmp_path):
    path = tmp_path / "new" / "file.txt"
    with whole_file(path) as temporary:
        temporary.write_text("one")
        assert not path.exists()
    assert path.read_text() == "one"
    with pytest.raises(RuntimeError), whole_file(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "one"
    assert [item.name for item in path.parent.iterdir()] == ["file.txt"]


def test_format_json_round_trips_with_plain_values_on_one_line():
    data = {"a": [1, 2.5, None], "b": {"c": "ä", "d": {"e": [[1], [2, 3]]}}, "empty": {}, "nothing": []}
    text = format_json(data)
    assert json.loads(text) == data
    assert '"a": [1, 2.5, null]' in text
    with pytest.raises(ValueError):
        format_json({"f1": float("nan")})


def test_md5(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"abc" * 1_000_000)
    assert md5_file(path) == md5_bytes([b"abc" * 1_000_000])


def test_read_json_names_the_file(tmp_path):
    with pytest.raises(UserError, match="none.json: cannot be read"):
        read_json(tmp_path / "none.json")
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(UserError, match="bad.json: is not valid JSON"):
        read_json(tmp_path / "bad.json")


def test_user_errors_are_messages_with_exit_status(capfd, monkeypatch):
    def command() -> None:
        raise UserError("mend this")

    monkeypatch.setattr("sys.argv", ["command"])
    with pytest.raises(SystemExit) as stop:
        run_cli(command)
    assert stop.value.code == 1
    assert "mend this" in capfd.readouterr().out
