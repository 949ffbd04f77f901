from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import make_url

from harness.files import masked
from harness.tracking import location


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("sqlite:///mlflow.db", "here/mlflow.db"),
        ("sqlite:///mlflow.db?timeout=60", "here/mlflow.db"),
        ("sqlite+pysqlite:///sub/x.db", "here/sub/x.db"),
        ("sqlite:////elsewhere/x.db", "/elsewhere/x.db"),
        ("sqlite:///~/x.db", "home/x.db"),
        ("sqlite://", None),
        ("postgresql://host/x.db", None),
        ("http://host:5000", None),
        ("databricks", None),
    ],
)
def test_the_file_of_an_sqlite_store(
    uri: str, expected: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert location.database_path(uri) == (None if expected is None else tmp_path / expected)
    if expected is not None:
        assert location.database_path(location.tracking_uri()) == tmp_path / expected
        assert ("timeout=60" in location.tracking_uri()) == ("timeout=60" in uri)
    else:
        assert location.tracking_uri() == uri


@pytest.mark.parametrize(
    "uri",
    [
        "postgresql://bob:pa/ss@host/db",
        "postgresql://bob:p@ss@host/db",
        "mysql+pymysql://bob:pass@host/db?charset=utf8",
        "postgresql://host/db?user=bob&password=pass",
        "https://host/?api_token=pass&x=1",
        "sqlite:///x.db?sslpassword=pass",
    ],
)
def test_no_secret_of_an_address_is_printed(uri: str) -> None:
    shown = masked(f"the store {uri} failed")
    assert "pa/ss" not in shown
    assert "pass&" not in f"{shown}&".replace("password", "").replace(" failed", "&")
    assert not shown.endswith("pass failed")
    assert "p@ss" not in shown
    assert shown.startswith("the store ")
    assert shown.endswith(" failed")


@pytest.mark.parametrize("name", ["mein Ordner, été", "100%25", "what?", "a#b", "数字"])
def test_the_uri_of_a_database_names_its_path_for_sqlalchemy(name: str) -> None:
    path = Path("/data") / name / "mlflow.db"
    uri = location.sqlite_uri(path)
    assert make_url(uri).database == str(path)
    assert location.database_path(uri) == path


def test_spaces_and_letters_stay_as_they_are_because_mlflow_creates_the_folder_of_the_uri() -> None:
    assert location.sqlite_uri(Path("/mein Ordner, été/mlflow.db")) == "sqlite:////mein Ordner, été/mlflow.db"
