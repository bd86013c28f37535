"""Images that are pulled: what containerd's client is asked, what is kept, and what is said when it cannot be."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from harness.components import daemon, given, images, network, own, pull, recipes
from harness.components.lock import architecture, load
from harness.components.store import Store
from harness.errors import PreflightError, UsageError
from harness.runner import CommandError, Completed, HostRunner
from tests.unit.components.test_given import archive

AGENT = "quay.io/cilium/cilium:v1.19.4"
INDEX, OURS, THEIRS = (f"sha256:{digit * 64}" for digit in "abc")


class Registry(HostRunner):
    """Answers as `ctr` does; remembers what it was asked."""

    def __init__(self, *, failing: str = "", architectures: tuple[str, ...] = ("s390x", architecture())) -> None:
        super().__init__()
        self.asked: list[tuple[str, ...]] = []
        self.failing = failing
        self.architectures = architectures

    def run(self, argv: Any, **rest: Any) -> Completed:
        words = tuple(str(word) for word in argv)
        if words[0] != "ctr":
            return super().run(argv, **rest)
        self.asked.append(words[1:])
        match words[1:3]:
            case "content", "fetch" if self.failing:
                done = Completed(words, 1, "elapsed: 0.1 s\n", f"time=… level=info\nctr: {self.failing}\n")
                msg = "ctr failed"
                raise CommandError(msg, done)
            case "images", "list":
                digest = INDEX if words[3] == f"name=={AGENT}" else OURS
                return Completed(
                    words, 0, f"REF TYPE DIGEST SIZE\n{words[3][6:]} application/json {digest} 1 MiB\n", ""
                )
            case "content", "get":
                listed = [
                    {
                        "digest": OURS if one == architecture() else THEIRS,
                        "platform": {"os": "linux", "architecture": one},
                    }
                    for one in self.architectures
                ]
                return Completed(words, 0, json.dumps({"manifests": listed} if listed else {"layers": []}), "")
            case "images", "export":
                Path(words[-2]).write_text("an archive")
        return Completed(words, 0, "", "")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Registry], Store]:
    """A store whose lab has the agent of another version, and whose containerd is not needed."""

    @contextmanager
    def private(*_: object) -> Iterator[tuple[str, ...]]:
        yield ("ctr",)

    monkeypatch.setattr(daemon, "private", private)
    monkeypatch.setattr("harness.components.pull.Reach.obstacle", lambda *_: "")
    monkeypatch.delenv("CNILAB_OFFLINE", raising=False)
    mirrors = {"quay.io": "http://127.0.0.1:5000"}

    def make(registry: Registry) -> Store:
        lock = network.with_images(load(), [AGENT])
        made = Store(tmp_path / "cache", lock=lock, mirrors=mirrors, runner=registry)
        monkeypatch.setattr(made, "ensure", lambda names: {name: made.cached("pause") for name in names})
        monkeypatch.setattr(made, "cached", lambda _: type("There", (), {"directory": tmp_path})())
        return made

    return make


def test_what_is_pulled_is_one_architecture_and_is_remembered_by_the_registrys_digest(
    store: Callable[[Registry], Store],
) -> None:
    registry = Registry()
    lab = store(registry)
    (path,) = images.archives(lab, ["cilium"])
    assert path.read_text() == "an archive"
    platform = f"linux/{architecture()}"
    fetched = [words for words in registry.asked if words[:2] == ("content", "fetch")]
    assert [words[-1] for words in fetched] == [AGENT, f"quay.io/cilium/cilium@{OURS}"]
    assert {words[words.index("--platform") + 1] for words in fetched} == {platform}
    assert ("images", "tag", "--force", f"quay.io/cilium/cilium@{OURS}", AGENT) in registry.asked
    (known,) = pull.known(lab.cache)
    assert (known.reference, known.digest, known.origin) == (AGENT, "a" * 64, "http://127.0.0.1:5000")
    (pin,) = lab.pins()
    assert (pin.name, pin.version, pin.source, pin.digest) == (AGENT, "v1.19.4", "pulled", "a" * 64)


def test_what_was_pulled_is_not_pulled_again(store: Callable[[Registry], Store]) -> None:
    first, second = Registry(), Registry(failing="no registry is there any more")
    paths = images.archives(store(first), ["cilium"])
    assert images.archives(store(second), ["cilium"]) == paths
    assert second.asked == []


def test_an_image_of_one_architecture_needs_no_choice(store: Callable[[Registry], Store]) -> None:
    registry = Registry(architectures=())
    images.archives(store(registry), ["cilium"])
    assert [words[-1] for words in registry.asked if words[:2] == ("content", "fetch")] == [AGENT]


@pytest.mark.parametrize(
    ("registry", "cause"),
    [
        (Registry(failing=f'failed to resolve reference "{AGENT}": not found'), "failed to resolve reference"),
        (Registry(architectures=("s390x",)), f"it has no image for linux/{architecture()}"),
    ],
)
def test_a_refusal_names_the_image_the_place_the_reason_and_other_ways(
    registry: Registry, cause: str, store: Callable[[Registry], Store], golden: Callable[[str, str], None]
) -> None:
    lab = store(registry)
    with pytest.raises(PreflightError) as caught:
        images.archives(lab, ["cilium"])
    assert caught.value.cause.startswith(cause)
    caught.value.cause = "…"
    golden("components/not-pulled.txt", f"{caught.value}\n")
    assert pull.known(lab.cache) == []
    assert list((lab.cache / "scratch").glob("*")) == []


@pytest.mark.parametrize("offline", [True, False])
def test_a_registry_that_is_out_of_reach_is_not_asked(
    offline: bool, store: Callable[[Registry], Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = Registry()
    lab = store(registry)
    if offline:
        monkeypatch.setenv("CNILAB_OFFLINE", "1")
    monkeypatch.setattr("harness.components.pull.Reach.obstacle", lambda *_: "127.0.0.1 cannot be reached: refused")
    with pytest.raises(PreflightError, match=f"the image {AGENT} cannot be pulled") as caught:
        images.archives(lab, ["cilium"])
    assert ("CNILAB_OFFLINE=1" if offline else "cannot be reached") in caught.value.cause
    assert registry.asked == []


def test_an_image_that_is_brought_is_not_pulled(store: Callable[[Registry], Store], tmp_path: Path) -> None:
    saved = archive(tmp_path / "cilium.tar", "manifest.json", [{"RepoTags": [AGENT]}])
    # Brought before anybody asked for that version of a lab.
    assert given.add(Store(tmp_path / "cache"), saved) == [AGENT]
    registry = Registry()
    lab = store(registry)
    (path,) = images.archives(lab, ["cilium"])
    assert path.read_bytes() == saved.read_bytes()
    assert registry.asked == []
    assert [(pin.name, pin.source) for pin in lab.pins()] == [(AGENT, "brought")]


def test_images_of_nobody_are_not_brought(tmp_path: Path) -> None:
    saved = archive(tmp_path / "x.tar", "manifest.json", [{"RepoTags": ["example.org/x:v1"]}])
    with pytest.raises(UsageError, match="contains no image that can be added this way") as caught:
        given.add(Store(tmp_path / "cache"), saved)
    assert "quay.io/cilium/" in str(caught.value)


def test_one_archive_may_have_two_versions(tmp_path: Path) -> None:
    both = [AGENT, AGENT.replace("19.4", "19.3")]
    saved = archive(tmp_path / "cilium.tar", "manifest.json", [{"RepoTags": [one]} for one in both])
    store = Store(tmp_path / "cache")
    assert sorted(given.add(store, saved)) == sorted(both)
    places = [given.place(store.cache, recipes.published([one])[0]) for one in both]
    assert len({images.image_digest(place) for place in places}) == 2


def test_an_image_is_brought_with_the_lab_that_wants_it(store: Callable[[Registry], Store], tmp_path: Path) -> None:
    saved = archive(tmp_path / "saved.tar", "manifest.json", [{"RepoTags": [AGENT]}])
    lab = store(Registry(failing="nothing is pulled"))
    offer = own.look(lab, [f"cilium={saved}"], (), ["cilium"])
    assert offer.images == {AGENT: saved}
    assert own.bring(lab, [f"cilium={saved}"], (), ["cilium"]) == {}
    (path,) = images.archives(lab, ["cilium"])
    assert path.read_bytes() == saved.read_bytes()
    other = archive(tmp_path / "other.tar", "manifest.json", [{"RepoTags": [AGENT.replace("19.4", "19.3")]}])
    with pytest.raises(UsageError, match="does not contain that image") as caught:
        own.look(lab, [f"cilium={other}"], (), ["cilium"])
    assert AGENT in caught.value.next_step
