from __future__ import annotations

import pytest

from reports import svg, text


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, ""), (0.0004, "0.4 ms"), (0.004, "4 ms"), (0.0421, "42 ms"), (0.842, "0.84 s"), (12.34, "12.3 s"),
        (125, "2 min 05 s"), (3725, "1 h 02 min"),
    ],
)  # fmt: skip
def test_durations_have_the_precision_that_matters(seconds: float | None, words: str) -> None:
    assert text.duration(seconds) == words


def test_nodes_sort_by_their_number() -> None:
    assert sorted(["n10", "n2", "n1"], key=text.natural) == ["n1", "n2", "n10"]


def test_anchors_are_never_given_twice() -> None:
    ids = text.Ids()
    given = [ids.new("pair", "a b", "c"), ids.new("pair", "a", "b-c"), ids.new("pair-a-b-c"), ids.new("pair-a-b-c-2")]
    assert len(set(given)) == len(given)


@pytest.mark.parametrize(
    "secret",
    [
        "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----",
        "client-key-data: TFMwdExTMUNSVWRKVGlCUw==",
        "Authorization: Bearer abcdefghijklmnop0123",
        "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJrdWJlcm5ldGVzIn0.c2lnbmF0dXJl",
        "token abcdef.0123456789abcdef",
    ],
)
def test_credentials_are_redacted(secret: str) -> None:
    shown = text.redact(f"before {secret} after")
    assert text.REDACTED in shown
    assert not {"MIIE", "TFMw", "abcdefghijklmnop0123", "eyJpc3Mi", "0123456789abcdef"} & set(shown.split())
    assert shown.startswith("before")
    assert shown.endswith("after")


def test_names_of_the_lab_are_not_taken_for_tokens() -> None:
    for name in ("router.outside.test", "spread.cnilab-probe.svc.cluster.local.", "kernel.perfeventparanoid"):
        assert text.redact(name) == name


@pytest.mark.parametrize(
    ("endpoint", "host", "port"),
    [("10.0.0.1:80", "10.0.0.1", "80"), ("[fd00::1]:80", "fd00::1", "80"), ("fd00::1", "fd00::1", ""), ("x", "x", "")],
)
def test_endpoints_fall_apart_into_host_and_port(endpoint: str, host: str, port: str) -> None:
    assert (text.host_of(endpoint), text.port_of(endpoint)) == (host, port)


def test_drawings_escape_what_they_are_given() -> None:
    assert str(svg.text(0, 0, '<b>&"', "x")) == '<text x="0" y="0" class="x">&lt;b&gt;&amp;&#34;</text>'
    assert str(svg.element("g", class_='"><script>')) == '<g class="&#34;&gt;&lt;script&gt;"></g>'


@pytest.mark.parametrize(
    ("value", "words"), [(1, "1"), (1.0, "1"), (1.25, "1.2"), (-0.01, "0"), (100, "100"), (10.04, "10")]
)
def test_numbers_in_drawings_have_one_decimal_at_most(value: float, words: str) -> None:
    assert svg.number(value) == words


def test_long_text_is_cut_and_kept_as_tooltip() -> None:
    cut = str(svg.text(0, 0, "a" * 40, "mono", width=72, size=12))
    assert "aaaaaaaa…" in cut
    assert f"<title>{'a' * 40}</title>" in cut
