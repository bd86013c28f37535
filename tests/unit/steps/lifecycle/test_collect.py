"""Evidence without secrets."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.model.journal import Journal
from harness.model.run import RunDir
from harness.providers.logs import tail_bytes
from harness.providers.namespaces.layout import LabLayout
from harness.steps.lifecycle import collect as module
from harness.steps.lifecycle.collect import REDACTED, collect, redact, redact_object

TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJzeXN0ZW06YWRtaW4ifQ.c2lnbmF0dXJl-_x"
KEY = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEE\nIBzz\n-----END EC PRIVATE KEY-----"


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        (f"log line {KEY} end", "MHcCAQEE"),
        (f"cut off: {KEY[:45]}", "MHcCAQEE"),
        (f"Authorization: Bearer {TOKEN}", TOKEN),
        ("authorization: basic dXNlcjpwYXNz", "dXNlcjpwYXNz"),
        (f"token={TOKEN}", "c2lnbmF0dXJl"),
        ('{"token": "abc123def"}', "abc123def"),
        ("client-key-data: TFMwdExTMUNSVWRKVGlC", "TFMwdExTMUNSVWRKVGlC"),
        ("--password=hunter22 --user=x", "hunter22"),
        ("api_key: 'k-12345'", "k-12345"),
        (f"mounted {TOKEN}", TOKEN),
    ],
)
def test_secrets_are_taken_out(text: str, secret: str) -> None:
    cleaned = redact(text)
    assert secret not in cleaned
    assert REDACTED in cleaned


@pytest.mark.parametrize(
    "text",
    [
        "10.244.1.0/24 via 10.244.1.0 dev flannel.1 onlink",
        "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
        "kubelet.go:123] Failed to update token",
        '"apiVersion": "v1"',
        "serviceaccount/token mounted at /var/run/secrets",
        '"automountServiceAccountToken": false,',  # with a word there it would be no JSON any more
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact(text) == text


@given(st.text())
def test_redacting_twice_changes_nothing(text: str) -> None:
    assert redact(redact(text)) == redact(text)


def test_api_objects_lose_copies_of_themselves_and_secrets_but_nothing_else() -> None:
    item = {
        "metadata": {
            "name": "a",
            "managedFields": [{"manager": "x"}],
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}", "keep": "me"},
        },
        "data": {"conf": f"password: s3cret9 and {TOKEN}"},
        "list": [1, None, True],
    }
    assert redact_object(item) == {
        "metadata": {"name": "a", "annotations": {"keep": "me"}},
        "data": {"conf": f"password: {REDACTED} and {REDACTED}"},
        "list": [1, None, True],
    }


def test_a_long_log_keeps_its_end_from_a_whole_line_on(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    path.write_text("".join(f"line {n}\n" for n in range(1000)))
    text = tail_bytes(path, 100)
    assert text.splitlines()[0].startswith("[the first ")
    assert text.splitlines()[1].startswith("line 9")
    assert text.endswith("line 999\n")
    assert len(text) < 160


def test_a_lab_that_died_still_gives_its_logs(tmp_path: Path) -> None:
    layout = LabLayout(tmp_path / "state", "dead")
    log = layout.machine("n1").log
    log.mkdir(parents=True)
    (log / "kubelet.log").write_text(f"started\ntoken: {TOKEN}\n")
    run = RunDir(tmp_path / "run")
    assert collect("dead", tmp_path / "state", run, Journal(run)) == [run.path / "logs"]
    text = (run.path / "logs/n1/kubelet.log").read_text()
    assert "started" in text
    assert TOKEN not in text
    assert "no cluster named 'dead'" in (run.path / "logs/collect.txt").read_text()
    event = run.events()[-1]
    assert (event.step, event.state, event.detail["missed"]) == ("collect", "ok", 1)


def test_what_cannot_be_read_is_noted_and_the_rest_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = LabLayout(tmp_path, "dead").machine("n1").log
    log.mkdir(parents=True)
    for name in ("a.log", "b.log"):
        (log / name).write_text(name)

    def read(path: Path, limit: int = 0) -> str:
        del limit
        if path.name == "a.log":
            raise PermissionError(13, "Permission denied")
        return path.read_text()

    monkeypatch.setattr("harness.providers.namespaces.driver.tail_bytes", read)
    run = RunDir(tmp_path / "run")
    collect("dead", tmp_path, run, Journal())
    assert (run.path / "logs/n1/b.log").read_text() == "b.log"
    assert "n1/a.log: [Errno 13] Permission denied" in (run.path / "logs/collect.txt").read_text()


def test_nothing_to_collect_leaves_no_log_of_machines(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    collect("ghost", tmp_path, run, Journal())
    assert sorted(path.name for path in (run.path / "logs").iterdir()) == ["collect.txt"]


def test_no_kind_that_is_collected_holds_secrets() -> None:
    assert "Secret" not in {kind for _, kind in module.API_KINDS}
