"""The API key: where it may lie, who may read it, and that nothing ever shows it."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest

from ifd_fast.config import read_api_key
from ifd_fast.credentials import Secret
from ifd_fast.errors import CredentialError

API_KEY = "db-" + "x9" * 14 + "K"


def key_file(folder: Path, text: str, mode: int = 0o600) -> dict[str, str]:
    """Write a key file and return the environment that names it."""
    path = folder / "api_key"
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return {"IFD_API_KEY_FILE": str(path)}


def test_the_key_comes_from_the_environment_or_a_private_file(tmp_path: Path) -> None:
    """The variable wins over the file; an empty variable is none; the default place is known."""
    in_file = key_file(tmp_path, API_KEY + "\n")
    other = API_KEY[:-1] + "Z"
    assert read_api_key(in_file).reveal() == API_KEY
    assert read_api_key(in_file | {"DATABENTO_API_KEY": other}).reveal() == other
    assert read_api_key(in_file | {"DATABENTO_API_KEY": ""}).reveal() == API_KEY
    (tmp_path / "ifd").mkdir()
    (tmp_path / "api_key").rename(tmp_path / "ifd" / "api_key")
    assert read_api_key({"XDG_CONFIG_HOME": str(tmp_path)}).reveal() == API_KEY


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620, 0o601, 0o666])
def test_an_open_key_file_is_refused(tmp_path: Path, mode: int) -> None:
    """Whoever else may touch the file may have the key."""
    with pytest.raises(CredentialError, match=rf"0600, was {mode:04o}.*chmod 600"):
        read_api_key(key_file(tmp_path, API_KEY, mode))


@pytest.mark.parametrize(
    "text", ["", "db-short", API_KEY + "x", "xx-" + "a" * 29, "é" * 20, "x" * 9999]
)
def test_a_wrong_key_is_not_shown(tmp_path: Path, text: str) -> None:
    """Text that is no key is refused without being repeated."""
    with pytest.raises(CredentialError) as caught:
        read_api_key(key_file(tmp_path, text))
    assert caught.value.exit_code == 5
    assert not text or text not in str(caught.value)
    with pytest.raises(CredentialError, match="DATABENTO_API_KEY"):
        read_api_key({"DATABENTO_API_KEY": text or " "})


def test_no_key_at_all(tmp_path: Path) -> None:
    """Without key the message says where one belongs; a folder or pipe is not waited for."""
    with pytest.raises(CredentialError, match="Set DATABENTO_API_KEY"):
        read_api_key({"XDG_CONFIG_HOME": str(tmp_path)})
    with pytest.raises(CredentialError, match="regular file"):
        read_api_key({"IFD_API_KEY_FILE": str(tmp_path)})
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(CredentialError, match="regular file"):
        read_api_key({"IFD_API_KEY_FILE": str(tmp_path / "pipe")})


def test_a_secret_shows_itself_only_when_asked() -> None:
    """No way of printing or copying a Secret out of the process shows it."""
    secret = Secret(API_KEY)
    shown = [
        repr(secret),
        str(secret),
        f"{secret}",
        f"{secret!r:>40}",
        f"{[secret]}",
        " ".join([str(secret)]),
    ]
    assert all(API_KEY not in text for text in shown)
    assert not hasattr(secret, "__dict__")
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(secret)
