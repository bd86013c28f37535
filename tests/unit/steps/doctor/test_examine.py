"""Every check of `doctor`, on machines that lack one thing at a time."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, get_args

import pytest

from harness.cli import app as entry
from harness.cni import catalogue
from harness.components import carry
from harness.components.lock import load as load_lock
from harness.components.resolver import Resolver
from harness.components.sources import toolchain
from harness.components.sources.golang import MIN_GO
from harness.errors import CnilabError, PreflightError, UsageError
from harness.model.spec import Kubernetes, LabSpec
from harness.model.variant import Need
from harness.providers.kind.answers import EngineFacts
from harness.providers.kind.engine import no_engine
from harness.providers.namespaces import cgroups, state
from harness.providers.namespaces.layout import LabLayout, group_suffix
from harness.runner import Argv, Completed
from harness.steps.doctor.checks import CHECKS, neighbour_entries
from harness.steps.doctor.examine import concerning, examine, programs, require
from harness.steps.doctor.host import LINKS, PATIENCE, Host
from harness.steps.doctor.ipv6 import lacking
from harness.steps.doctor.model import Answer, Finding, Plan, Question

EVERYTHING = (1 << 41) - 1


ENGINE = EngineFacts("20.10.24", "1.41", "1", "cgroupfs", rootless=False, podman=False)


WHOLE = "cpu cpuset memory pids"


@dataclass
class Machine(Host):
    """A machine that has everything, but for what a test takes away."""

    user: int = 0
    held: int = EVERYTHING
    files: dict[str, str] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)
    failing: set[str] = field(default_factory=set)
    absent: set[str] = field(default_factory=set)
    free: int = 2**40
    memory: int = 2**36
    port: int = 4242
    no_links: set[str] = field(default_factory=set)
    refused: dict[str, int] = field(default_factory=dict)
    ran: list[tuple[str, ...]] = field(default_factory=list)
    engine: EngineFacts | CnilabError = ENGINE
    image: str = "cnilab.dev/node:v1"
    no_docker_ipv6: str = ""
    day: date = date(2026, 1, 1)

    def today(self) -> date:
        return self.day

    def uid(self) -> int:
        return self.user

    def capabilities(self) -> int:
        return self.held

    def read(self, path: str) -> str:
        return {
            "/proc/self/mountinfo": "1 0 0:1 / /nowhere/cgroup rw - cgroup2 cgroup2 rw\n",
            "/nowhere/cgroup/cgroup.controllers": "cpuset cpu io memory pids\n",
            "/proc/sys/net/ipv4/neigh/default/gc_thresh3": "1024\n",
            "/proc/sys/fs/inotify/max_user_instances": "512\n",
            **self.files,
        }.get(path, "")

    def exists(self, path: str) -> bool:
        return path not in self.absent

    def which(self, program: str) -> str | None:
        return None if program in self.missing else f"/usr/bin/{program}"

    def run(self, argv: Argv, *, text: str | None = None, timeout: float = PATIENCE) -> Completed:
        del text, timeout
        words = tuple(map(str, argv))
        self.ran.append(words)
        failed = bool(self.failing & set(words))
        out = {"version": "go version go1.25.1 linux/amd64", "GOTOOLCHAIN": "auto"}.get(words[-1], "")
        return Completed(words, int(failed), "" if failed else out, "refused" if failed else "")

    def call(self, name: str) -> int:
        return self.refused.get(name, 0)

    def free_bytes(self, path: Path) -> int:
        del path
        return self.free

    def memory_available(self) -> int:
        return self.memory

    def loopback_port(self) -> int:
        return self.port

    def docker(self) -> EngineFacts:
        if isinstance(self.engine, CnilabError):
            raise self.engine
        return self.engine

    def docker_ipv6(self) -> str:
        if isinstance(self.engine, CnilabError):
            raise self.engine
        return self.no_docker_ipv6

    def node_image(self, version: str) -> str:
        del version
        return self.image

    @property
    def links(self) -> dict[str, bool]:
        return {name: name not in self.no_links for name in LINKS}


def lacks(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Have the cache lack these components and no others."""
    monkeypatch.setattr(Plan, "missing", property(lambda _: names))


@pytest.fixture(autouse=True)
def _components_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    lacks(monkeypatch)


@pytest.fixture(autouse=True)
def _no_cgroups_are_made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    hierarchy = tmp_path / "cgroup"
    hierarchy.mkdir()
    (hierarchy / "cgroup.controllers").write_text("")
    monkeypatch.setattr(cgroups, "hierarchies", lambda text, _own: _hierarchies(text, hierarchy))


def _hierarchies(text: str, stand_in: Path) -> list[cgroups.Hierarchy]:
    kinds = [line.partition(" - ")[2].split()[0] for line in text.splitlines() if " - cgroup" in line]
    return [cgroups.Hierarchy(stand_in, kind == "cgroup2") for kind in kinds]


def check(identity: str, machine: Machine, tmp_path: Path, nodes: int = 2, **spec: Any) -> Finding:
    machine.files.setdefault(f"{tmp_path}/cgroup/cgroup.controllers", "cpuset cpu io memory pids")
    plan = Plan(LabSpec(nodes=nodes, **spec), tmp_path / "state", tmp_path / "cache", machine)
    chosen = [one for one in CHECKS if one.id == identity]
    return examine(plan, checks=chosen)[0]


def test_an_overlay_is_tried_without_the_name_of_its_directory_in_the_options(tmp_path: Path) -> None:
    place = tmp_path / "a,b:c\\d"
    place.mkdir()
    machine = Machine()
    assert check("overlay", machine, place).status == "ok"
    words = next(words for words in machine.ran if "overlay" in words)
    assert words[words.index("-o") + 1] == "lowerdir=lower,upperdir=upper,workdir=work"
    assert words[words.index("-C") + 1].startswith(str(place))


@pytest.mark.parametrize("identity", [one.id for one in CHECKS if not one.provider])
def test_a_machine_that_has_everything_passes(identity: str, tmp_path: Path) -> None:
    assert check(identity, Machine(), tmp_path).status == "ok"


CASES: list[tuple[str, Machine, str, str]] = [
    ("root", Machine(user=1000), "blocks", "user id 1000"),
    ("ipv6", Machine(absent={"/proc/net/if_inet6"}), "blocks", "/proc/net/if_inet6 does not exist"),
    ("ipv6", Machine(failing={"sh"}), "blocks", "a temporary namespace got no address: refused"),
    ("ip6tables", Machine(failing={"ip6tables"}), "blocks", "refused"),
    ("ping6", Machine(failing={"sh"}), "limits", "refused"),
    ("docker", Machine(engine=no_engine("No such file or directory")), "info", "no Docker engine answers"),
    ("docker", Machine(engine=replace(ENGINE, version="19.03.15")), "info", "too old for kind"),
    ("docker", Machine(engine=replace(ENGINE, rootless=True)), "info", "kind requires cgroup v2"),
    ("docker-cli", Machine(missing={"docker"}), "info", "not found"),
    ("docker-ipv6", Machine(no_docker_ipv6="no such file"), "blocks", "no such file"),
    (
        "docker-ipv6",
        Machine(no_docker_ipv6="could not", absent={"/proc/net/if_inet6"}),
        "blocks",
        "could not; this machine's kernel has no IPv6",
    ),
    ("docker-image", Machine(image=""), "info", "up pulls the image that kind publishes"),
    ("capabilities", Machine(held=EVERYTHING & ~(1 << 12)), "blocks", "CAP_NET_ADMIN"),
    ("cap-sys-resource", Machine(held=EVERYTHING & ~(1 << 24)), "info", "missing"),
    ("namespaces", Machine(failing={"--cgroup"}), "blocks", "refused"),
    *[(kind, Machine(no_links={kind}), "blocks", "refused") for kind in ("veth", "bridge")],
    ("vxlan", Machine(no_links={"vxlan"}), "blocks", "refused"),  # the lab asked about is flannel's
    ("geneve", Machine(no_links={"geneve"}), "info", "refused"),
    *[(kind, Machine(no_links={kind}), "info", "refused") for kind in ("geneve", "wireguard", "ipip", "dummy")],
    (
        "br-netfilter",
        Machine(absent={"/proc/sys/net/bridge/bridge-nf-call-iptables"}, failing={"modprobe"}),
        "limits",
        "/proc/sys/net/bridge does not exist",
    ),
    ("iptables", Machine(failing={"iptables"}), "blocks", "refused"),
    ("nftables", Machine(failing={"nft"}), "limits", "refused"),
    ("netem", Machine(failing={"netem"}), "info", "refused"),
    ("overlay", Machine(failing={"overlay"}), "blocks", "refused"),
    ("bpf", Machine(failing={"bpf"}), "info", "refused"),
    ("bpf", Machine(refused={"bpf": errno.EPERM}), "info", "the system call bpf is refused"),
    ("veth", Machine(held=EVERYTHING & ~(1 << 12)), "blocks", "unknown without CAP_NET_ADMIN"),
    ("kmsg", Machine(failing={"if=/dev/kmsg"}), "blocks", "refused"),
    ("kmsg", Machine(absent={"/dev/kmsg"}, failing={"sh"}), "blocks", "refused"),
    ("calls", Machine(refused={"keyctl": errno.EPERM}), "blocks", "refused: keyctl"),
    ("calls", Machine(refused={"bpf": errno.EPERM}), "blocks", "refused: bpf"),
    ("memory", Machine(memory=800 * 2**20), "limits", "0.8 GiB available"),
    ("memory", Machine(memory=300 * 2**20), "blocks", "0.3 GiB available"),
    ("disk-state", Machine(free=2**20), "blocks", "0.0 GiB free"),
    ("disk-cache", Machine(free=2**20), "blocks", "0.0 GiB free"),
    ("port", Machine(port=0), "blocks", "no free TCP port"),
    (
        "inotify",
        Machine(files={"/proc/sys/fs/inotify/max_user_instances": "8"}),
        "limits",
        "8 instances allowed",
    ),
    ("cgroup-controllers", Machine(files={"/proc/self/mountinfo": ""}), "blocks", "no cgroup hierarchy"),
    (
        "cgroup-controllers",
        Machine(
            files={
                "/proc/self/mountinfo": "1 0 0:1 / /c rw - cgroup cgroup rw,cpu\n",
                "/proc/cgroups": "#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpu\t1\t1\t1\nmemory\t2\t1\t0\n",
            }
        ),
        "blocks",
        "missing: cpuset, memory, pids",
    ),
]


@pytest.mark.parametrize(("identity", "machine", "status", "detail"), CASES)
def test_what_is_missing_is_found_with_a_fix(
    identity: str, machine: Machine, status: str, detail: str, tmp_path: Path
) -> None:
    found = check(identity, machine, tmp_path)
    assert found.status == status
    assert detail in found.detail
    assert found.fix


def test_a_kubernetes_that_nobody_mends_any_more_is_told_and_stops_nothing(tmp_path: Path) -> None:
    old = Kubernetes(version="1.34")
    assert check("kubernetes", Machine(day=date(2026, 10, 27)), tmp_path, kubernetes=old).status == "ok"
    found = check("kubernetes", Machine(day=date(2026, 10, 28)), tmp_path, kubernetes=old)
    assert (found.status, found.detail) == ("limits", "Kubernetes 1.34 is out of support since 2026-10-27")
    assert "kubernetes.version" in found.fix


def test_a_containers_group_that_is_full_of_processes_cannot_hand_controllers_down(tmp_path: Path) -> None:
    at = tmp_path / "cgroup"
    files = {f"{at}/cgroup.type": "domain", f"{at}/cgroup.procs": "1\n7\n", f"{at}/cgroup.subtree_control": "cpu"}
    found = check("cgroup-delegate", Machine(files=files), tmp_path)
    assert found.status == "blocks"
    assert "has 2 processes, and does not delegate cpuset, memory, pids" in found.detail
    assert f"mkdir {at}/init" in found.fix
    for change in ({f"{at}/cgroup.type": ""}, {f"{at}/cgroup.procs": ""}, {f"{at}/cgroup.subtree_control": WHOLE}):
        assert check("cgroup-delegate", Machine(files={**files, **change}), tmp_path).status == "ok"


def test_an_engine_that_knows_no_bpf_is_too_old_for_agents_that_ask_for_it(tmp_path: Path) -> None:
    old, new = (Machine(engine=replace(ENGINE, version=version)) for version in ("20.10.24+dfsg1", "28.2.2"))
    found = check("docker", old, tmp_path, provider="kind", cni="cilium")
    assert found.status == "blocks"
    assert "gives kind's nodes no CAP_BPF and CAP_PERFMON" in found.detail
    assert "version 23" in found.fix
    assert check("docker", old, tmp_path, provider="kind", cni="flannel").status == "ok"
    found = check("docker", new, tmp_path, provider="kind", cni="cilium")
    assert found.status == "blocks"
    assert "no cgroup v2 of their own" in found.detail
    whole = Machine(engine=replace(ENGINE, version="28.2.2", cgroups="2"))
    assert check("docker", whole, tmp_path, provider="kind", cni="cilium").status == "ok"


def test_a_build_of_kubernetes_wants_more_memory_than_its_lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = Machine(memory=2 * 2**30)
    assert check("memory", small, tmp_path).status == "ok"
    lacks(monkeypatch, "kubernetes")
    found = check("memory", small, tmp_path)
    assert (found.status, found.detail) == (
        "limits",
        "2.0 GiB available, about 3.0 GiB needed to build Kubernetes",
    )
    assert "import" in found.fix
    assert check("memory", Machine(memory=3 * 2**30), tmp_path).status == "ok"
    assert check("memory", Machine(memory=300 * 2**20), tmp_path).status == "blocks"


def test_missing_programs_are_named_with_their_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CNILAB_APT", "no")
    found = check("programs", Machine(missing={"nft", "tcpdump"}), tmp_path)
    assert (found.status, found.detail) == ("blocks", "missing: nft, tcpdump")
    assert found.fix.startswith("apt-get install nftables")


def test_missing_programs_do_not_block_where_up_may_install_them(tmp_path: Path) -> None:
    plan = Plan(LabSpec(), tmp_path, tmp_path, Machine(missing={"nft"}), coming=True)
    (found,) = examine(plan, checks=[one for one in CHECKS if one.id == "programs"])
    assert found.status == "limits"
    assert "up installs them" in found.fix


ASKED = [check for check in CHECKS if check.program]


@pytest.mark.parametrize("one", ASKED, ids=lambda check: check.id)
@pytest.mark.parametrize("variant", ["flannel", "cilium", "cilium-wireguard", "weave"])
def test_what_up_will_install_is_not_in_its_own_way(one: Question, variant: str, tmp_path: Path) -> None:
    lacking = Machine(missing={one.program}, failing={one.program}, no_links=set(LINKS))
    spec = LabSpec(cni=variant)
    wanted = one.severity == "blocks" or one.id in catalogue.needs(spec)
    for coming, status in ((True, "limits"), (False, "blocks")):
        plan = Plan(spec, tmp_path / "state", tmp_path / "cache", lacking, coming)
        (found,) = examine(plan, checks=[one])
        assert found.status == (status if wanted else "info")
        assert found.detail == f"unknown without {one.program}"
        assert found.fix.startswith("up installs them: apt-get install" if coming else "apt-get install")
    assert (one.program in programs(spec)) is (wanted or not load_lock().tool[one.program].optional)


def test_what_could_not_be_installed_blocks(tmp_path: Path) -> None:
    chosen = [check for check in CHECKS if check.id == "ipset"]
    lacking = Machine(missing={"ipset"}, failing={"ipset"})
    with pytest.raises(PreflightError, match="variant 'weave' is unavailable here") as caught:
        require(LabSpec(cni="weave"), state=tmp_path, cache=tmp_path, host=lacking, checks=chosen)
    assert caught.value.next_step == "apt-get install ipset"


def test_a_lab_on_kind_needs_no_programs_of_this_machine() -> None:
    assert programs(LabSpec(provider="kind")) == ()


def test_each_check_names_the_program_that_it_asks_with(tmp_path: Path) -> None:
    for one in CHECKS:
        machine = Machine()
        check(one.id, machine, tmp_path)
        asked = {words[4] for words in machine.ran if words[:4] == ("unshare", "--net", "--mount", "--")}
        assert asked - {"mount", "sh"} <= {one.program}, one.id
    assert {one.program for one in CHECKS if one.id in LINKS} == {"ip"}, "see Host.links"


def test_the_neighbour_table_is_compared_with_what_the_plan_needs(tmp_path: Path) -> None:
    assert check("neighbours", Machine(), tmp_path, nodes=2).status == "ok"
    found = check("neighbours", Machine(), tmp_path, nodes=20)
    assert found.status == "limits"
    assert "gc_thresh3=4960" in found.fix


def test_more_nodes_need_more_neighbours() -> None:
    needs = [neighbour_entries(Plan(LabSpec(nodes=n), Path(), Path())) for n in (1, 2, 10, 20)]
    assert needs == sorted(needs)
    assert needs[1] < 1024 < needs[3]


def test_absent_components_say_what_the_first_up_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lacks(monkeypatch, "kubernetes")
    assert check("components", Machine(), tmp_path).detail == "not in the cache: kubernetes"
    assert check("go", Machine(), tmp_path).detail == "1.25.1"
    monkeypatch.setenv("GOPROXY", "off")
    assert check("go", Machine(failing={"go"}), tmp_path).status == "limits", "it has releases"


@pytest.mark.parametrize(("variable", "value"), [("GOROOT", "/of/another"), ("GOFLAGS", "-odd"), ("GOENV", "FILE")])
def test_go_is_asked_as_builds_ask_it_and_not_as_its_user_set_it(
    variable: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lacks(monkeypatch, "pause")
    script = '[ "$GOENV" = off ] && [ -z "$GOROOT$GOFLAGS" ] || exit 2\necho go version go1.25.1 linux/amd64\n'
    (tmp_path / "go").write_text(f"#!/bin/sh\n{script}")
    (tmp_path / "go").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv(variable, value)
    machine = Machine()
    machine.run = Host().run  # type: ignore[method-assign]
    assert check("go", machine, tmp_path).detail == "1.25.1"


def test_what_has_no_release_needs_go_and_offline_none_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lacks(monkeypatch, "kubernetes", "flannel", "pause")
    monkeypatch.setenv("CNILAB_OFFLINE", "1")
    found = check("go", Machine(failing={"go"}), tmp_path)
    reason = "not found; CNILAB_OFFLINE=1 does not allow a download; it builds flannel, pause"
    assert (found.status, found.detail) == ("blocks", reason)
    assert found.fix.startswith(f"install Go {MIN_GO} or later")


def test_a_machine_without_go_gets_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lacks(monkeypatch, "pause")
    for name in ("CNILAB_OFFLINE", "GOPROXY"):
        monkeypatch.delenv(name, raising=False)
    pinned = load_lock().go
    assert pinned
    found = check("go", Machine(failing={"go"}), tmp_path)
    detail = f"not found; {pinned.version} will be downloaded to the cache (70 MB from Go's module proxy)"
    assert (found.status, found.detail) == ("ok", detail)
    toolchain.place(tmp_path / "cache", pinned).mkdir(parents=True)
    monkeypatch.setenv("CNILAB_OFFLINE", "1")
    found = check("go", Machine(failing={"go"}), tmp_path)
    assert (found.status, found.detail) == ("ok", f"not found; {pinned.version} is in the cache")


def test_compilers_of_what_is_missing_are_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else `up` ends after minutes of other builds."""
    lacks(monkeypatch, "flannel", "runc", "pause")
    header = "/usr/include/seccomp.h"
    assert check("compilers", Machine(), tmp_path).detail == "found: gcc, pkg-config, libseccomp"
    bare = Machine(missing={"gcc", "apt-get"}, absent={header}, user=1000)
    found = check("compilers", bare, tmp_path)
    assert (found.status, found.detail) == ("limits", "missing: gcc, libseccomp")
    assert found.fix == "apt-get install gcc libc6-dev libseccomp-dev"
    lacks(monkeypatch, "pause")
    assert check("compilers", bare, tmp_path).detail == "not needed"


def test_compilers_that_up_installs_are_in_nobodys_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lacks(monkeypatch, "flannel")
    machine = Machine(missing={"gcc"})
    plan = Plan(LabSpec(), tmp_path, tmp_path, machine, coming=True)
    (found,) = examine(plan, checks=[one for one in CHECKS if one.id == "compilers"])
    assert (found.status, found.detail) == ("ok", "missing: gcc; up installs them: apt-get install gcc libc6-dev")


def test_the_module_of_bridges_is_looked_for_and_not_loaded(tmp_path: Path) -> None:
    machine = Machine(absent={"/proc/sys/net/bridge/bridge-nf-call-iptables"})
    found = check("br-netfilter", machine, tmp_path)
    assert (found.status, found.detail) == ("ok", "a module that the first cluster loads")
    assert [words for words in machine.ran if "modprobe" in words] == [("modprobe", "--dry-run", "br_netfilter")]


@pytest.mark.parametrize(
    ("spec", "absent", "present"),
    [
        (LabSpec(), {"cilium", "helm", "kind"}, {"etcd", "flannel", "cni-plugins"}),
        (LabSpec(provider="kind"), {"etcd", "containerd", "nodeinit", "pause"}, {"kind", "flannel", "responder"}),
        (LabSpec(cni="cilium"), {"flannel"}, {"cilium", "nodeinit"}),
    ],
)
def test_components_are_those_of_the_lab(
    spec: LabSpec, absent: set[str], present: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    missing = set(Plan(spec, tmp_path, tmp_path / "cache").missing)
    assert present <= missing
    assert not absent & missing


def test_an_empty_cache_lacks_components(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    plan = Plan(LabSpec(), tmp_path, tmp_path / "cache")
    assert "kubernetes" in plan.missing


def test_the_cache_is_looked_at_once_for_all_checks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    looked: list[Resolver] = []
    real = carry.list_components

    def look(store: Resolver) -> list[carry.ComponentStatus]:
        looked.append(store)
        return real(store)

    monkeypatch.setattr(carry, "list_components", look)
    plan = Plan(LabSpec(), tmp_path, tmp_path / "cache", Machine())
    wanted = [check for check in CHECKS if check.id in {"components", "go", "compilers", "memory", "disk-cache"}]
    assert len(wanted) == 5
    findings = {finding.check.id: finding for finding in examine(plan, checks=wanted)}
    assert "kubernetes" in findings["components"].detail
    assert len(looked) == 1


def written(tmp_path: Path, name: str, *, ready: bool, owner: int, pid: int = 0) -> None:
    machine = state.MachineState(
        name="n1", address=IPv4Address("172.18.0.11"), pid=pid, started=state.start_time(pid) if pid else 0
    )
    known = state.NamespacesState(
        name=name,
        created="2026-01-01T00:00:00Z",
        spec=LabSpec(name=name),
        owner=owner,
        ready=ready,
        machines=(machine,),
    )
    state.write(LabLayout(tmp_path / "state", name), known)


DEAD = 2**22 + 1  # above the largest PID that a kernel gives
MYSELF = -1  # a parameter that is the same in all workers; becomes the PID of this process


@pytest.mark.parametrize(
    ("ready", "owner", "pid", "reason"),
    [
        (False, DEAD, 0, "bring-up was killed"),
        (True, DEAD, DEAD, "not running: n1"),
        (True, DEAD, MYSELF, ""),
        (False, MYSELF, 0, ""),
    ],
)
def test_labs_without_living_processes_are_leftovers(
    *, ready: bool, owner: int, pid: int, reason: str, tmp_path: Path
) -> None:
    owner, pid = (os.getpid() if one == MYSELF else one for one in (owner, pid))
    written(tmp_path, "old", ready=ready, owner=owner, pid=pid)
    found = check("leftovers", Machine(), tmp_path)
    assert found.status == ("limits" if reason else "ok")
    assert reason in found.detail
    if reason:
        assert found.fix == "cnilab down old"


def test_a_damaged_state_file_is_a_leftover(tmp_path: Path) -> None:
    folder = tmp_path / "state/labs/old"
    folder.mkdir(parents=True)
    (folder / "state.json").write_text("{")
    assert "cannot be read" in check("leftovers", Machine(), tmp_path).detail


def test_cgroups_of_unknown_labs_are_found(tmp_path: Path) -> None:
    (tmp_path / f"cgroup/cnilab/ghost{group_suffix(tmp_path / 'state')}").mkdir(parents=True)
    (tmp_path / "cgroup/cnilab/stranger.00000000").mkdir()
    found = check("leftovers-cgroups", Machine(), tmp_path)
    assert found.status == "info"
    assert found.fix == "cnilab down ghost", "a lab of another state directory is not ours to judge"


def test_mounts_below_the_state_directory_are_found(tmp_path: Path) -> None:
    line = f"9 1 0:9 / {tmp_path}/state/labs/x/root rw - overlay overlay rw\n"
    found = check("leftovers-mounts", Machine(files={"/proc/self/mountinfo": line}), tmp_path)
    assert found.status == "limits"
    assert f"umount -l {tmp_path}/state/labs/x/root" in found.fix


def test_a_cgroup_file_system_that_cannot_be_written_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroups, "hierarchies", lambda *_: [cgroups.Hierarchy(tmp_path / "none/cgroup", unified=True)])
    found = check("cgroup-write", Machine(), tmp_path)
    assert found.status == "blocks"


def test_a_kernels_log_that_is_hidden_is_made_for_nodes(tmp_path: Path) -> None:
    machine = Machine(absent={"/dev/kmsg"})
    found = check("kmsg", machine, tmp_path)
    assert (found.status, found.detail) == ("ok", "nodes get their own")
    assert "mknod -m 600 /mnt/kmsg c 1 11" in " ".join(machine.ran[-1])


def test_runc_needs_bpf_with_cgroup_v2_only_and_keys_only_where_the_kernel_has_them(tmp_path: Path) -> None:
    v1 = {"/proc/self/mountinfo": "1 0 0:1 / /c rw - cgroup cgroup rw,cpu\n"}
    assert check("calls", Machine(files=v1, refused={"bpf": errno.EPERM}), tmp_path).status == "ok"
    assert check("calls", Machine(refused={"keyctl": errno.ENOSYS}), tmp_path).status == "ok"


def test_the_kernel_answers_these_calls_and_changes_nothing() -> None:
    """Without rights bpf is refused as by a filter; a number that is wrong would be another call's answer."""
    host = Host()
    assert host.call("keyctl") in {0, errno.EPERM, errno.ENOSYS, errno.ENOKEY}
    assert host.call("bpf") in {0, errno.EPERM, errno.ENOENT, errno.ENOSYS}


def test_control_groups_that_are_only_sealed_can_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """systemd-nspawn mounts hierarchies of version 1 read-only."""

    def mkdir(path: Path) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    one, other = tmp_path / "cpu", tmp_path / "memory"
    monkeypatch.setattr(
        cgroups, "hierarchies", lambda *_: [cgroups.Hierarchy(at, unified=False) for at in (one, other)]
    )
    monkeypatch.setattr(Path, "mkdir", mkdir)
    found = check("cgroup-write", Machine(), tmp_path)
    assert found.status == "blocks"
    assert found.detail == f"{one}: Read-only file system; {other}: Read-only file system"
    assert found.fix == f"mount -o remount,rw,bind {one}; mount -o remount,rw,bind {other}"


def checks(*severities: str) -> list[Question]:
    return [
        Question(str(n), f"thing {n}", s, "no lab", f"mend {n}", lambda _: Answer(ok=False, detail="gone"))  # type: ignore[arg-type]
        for n, s in enumerate(severities)
    ]


def test_require_names_everything_that_blocks_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.steps.doctor.examine.CHECKS", tuple(checks("blocks", "limits", "blocks")))
    with pytest.raises(PreflightError) as error:
        require(LabSpec(), state=tmp_path, cache=tmp_path)
    assert error.value.cause == "thing 0: gone\nthing 2: gone"
    assert error.value.next_step == "mend 0\nmend 2"
    assert error.value.exit_code == 10


def test_require_lets_pass_what_only_limits_and_does_not_ask_for_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.steps.doctor.examine.CHECKS", tuple(checks("limits", "info")))
    assert [one.status for one in require(LabSpec(), state=tmp_path, cache=tmp_path)] == ["limits"]


@pytest.mark.parametrize(
    ("spec", "asked", "left"),
    [
        ({"cni": "flannel"}, set(), {"docker", "geneve", "bpf", "ipvs"}),
        ({"cni": "cilium-geneve"}, {"geneve", "bpf"}, {"docker", "ipvs"}),
        ({"cni": "flannel", "provider": "kind"}, {"docker"}, {"geneve", "ipvs"}),
    ],
    ids=["flannel", "cilium-geneve", "kind"],
)
def test_require_asks_for_what_the_lab_cannot_be_without(
    spec: dict[str, Any], asked: set[str], left: set[str], tmp_path: Path
) -> None:
    machine = Machine()
    machine.files[f"{tmp_path}/cgroup/cgroup.controllers"] = "cpuset cpu io memory pids"
    findings = require(LabSpec(**spec), state=tmp_path / "state", cache=tmp_path / "cache", host=machine)
    ids = {one.check.id for one in findings}
    assert asked <= ids
    assert not left & ids
    assert all(one.status == "ok" for one in findings)


def test_a_check_can_be_skipped_by_its_id_and_only_by_that(tmp_path: Path) -> None:
    plan = Plan(LabSpec(), tmp_path, tmp_path)
    assert examine(plan, skip={"0"}, checks=checks("blocks")) == []
    with pytest.raises(UsageError, match="no check named dsn"):
        examine(plan, skip={"dsn"}, checks=checks("blocks"))


def test_ids_are_unique() -> None:
    assert len({one.id for one in CHECKS}) == len(CHECKS)


def test_links_are_tried_in_one_throw_away_namespace(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Sequence[str]] = []

    def fake(self: Host, argv: Sequence[str], *, text: str | None = None) -> Completed:
        del self
        seen.append(argv)
        assert text is not None
        assert len(text.splitlines()) == len(LINKS)
        return Completed(tuple(argv), 1, "", "RTNETLINK answers: Operation not supported\nCommand failed -:4\n")

    monkeypatch.setattr(Host, "unshared", fake)
    links = Host().links
    assert len(seen) == 1
    assert [kind for kind, there in links.items() if not there] == ["geneve"]


def test_the_command_prints_findings_and_exits_10_when_one_blocks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr("harness.steps.doctor.examine.CHECKS", tuple(checks("blocks", "info")))
    places = ["--state", str(tmp_path / "s"), "--cache", str(tmp_path / "c")]
    assert entry.run([*places, "doctor", "-o", "json"]) == 10
    document = json.loads(capsys.readouterr().out)
    assert [item["status"] for item in document["items"]] == ["blocks", "info"]
    assert entry.run([*places, "doctor", "--skip", "0"]) == 0


def test_a_program_that_hangs_or_is_missing_is_a_failed_probe_with_its_reason() -> None:
    assert Host().run(["sleep", "5"], timeout=0.05).tail(1) == "no answer within 0 s"
    assert Host().run(["no-such-program-here"]).tail(1) == "program not found: no-such-program-here"


def test_weaves_images_are_missing_until_they_are_brought(tmp_path: Path) -> None:
    npc = tmp_path / "cache/given/weave-npc/weave-npc.tar"
    finding = check("weave-images", Machine(absent={str(npc)}), tmp_path)
    assert finding.status == "info"
    assert "weave-npc:2.9.0" in finding.detail
    assert "weave-kube" not in finding.detail
    assert "cnilab components add" in finding.fix


def test_weave_is_refused_where_its_images_or_dummy_links_are_missing(tmp_path: Path) -> None:
    absent = {str(tmp_path / f"cache/given/{name}/{name}.tar") for name in ("weave-kube", "weave-npc")}
    machine = Machine(absent=absent, no_links={"dummy"})
    machine.files.setdefault(f"{tmp_path}/cgroup/cgroup.controllers", "cpuset cpu io memory pids")
    plan = Plan(LabSpec(cni="weave"), tmp_path / "state", tmp_path / "cache", machine)
    chosen = [one for one in CHECKS if one.id in {"dummy", "weave-images"}]
    assert {one.status for one in examine(plan, checks=chosen)} == {"blocks"}


def refusal(machine: Machine, tmp_path: Path, **spec: Any) -> PreflightError:
    machine.files.setdefault(f"{tmp_path}/cgroup/cgroup.controllers", "cpuset cpu io memory pids")
    with pytest.raises(PreflightError) as caught:
        require(LabSpec.model_validate(spec), state=tmp_path / "state", cache=tmp_path / "cache", host=machine)
    return caught.value


def test_a_mode_of_kube_proxy_is_unavailable_where_the_kernel_lacks_what_it_needs(tmp_path: Path) -> None:
    spec = {"cni": "flannel", "kubernetes": {"proxyMode": "ipvs"}}
    error = refusal(Machine(failing={"ipvs"}, no_links={"dummy"}), tmp_path, **spec)
    assert error.what == "kube-proxy in mode 'ipvs' is unavailable here"
    assert [line.partition(":")[0] for line in error.cause.splitlines()] == ["IPVS", "dummy links"]
    assert any("--kernel debian" in note for note in error.notes)


@pytest.mark.parametrize(
    "spec",
    [{"cni": "flannel"}, {"cni": "cilium", "kubernetes": {"proxyMode": "ipvs"}}],
    ids=["iptables", "no kube-proxy"],
)
def test_ipvs_is_asked_for_only_where_kube_proxy_uses_it(spec: dict[str, Any], tmp_path: Path) -> None:
    found = check(
        "ipvs", Machine(failing={"ipvs"}), tmp_path, **LabSpec.model_validate(spec).model_dump(by_alias=False)
    )
    assert found.status == "info"


WITHOUT_IPV6 = {"/proc/net/if_inet6"}


def test_what_ipv6_needs_is_asked_only_of_labs_that_have_it(tmp_path: Path) -> None:
    for families, ids in (("ipv4", set()), ("dual", {"ipv6", "ip6tables", "ping6"}), ("ipv6", {"ipv6", "ip6tables"})):
        asked = {one.id for one in concerning(LabSpec(ip_family=families))}
        assert ids <= asked
        assert bool({"ipv6", "ip6tables", "ping6"} & asked) is bool(ids)
    machine = Machine(absent=WITHOUT_IPV6, failing={"ip6tables"})
    machine.files[f"{tmp_path}/cgroup/cgroup.controllers"] = "cpuset cpu io memory pids"
    require(LabSpec(), state=tmp_path / "state", cache=tmp_path / "cache", host=machine)


def test_a_lab_with_ipv6_is_refused_with_the_cause_and_the_ways_out(tmp_path: Path) -> None:
    machine = Machine(absent=WITHOUT_IPV6, failing={"ip6tables"})
    machine.files["/proc/cmdline"] = "quiet ipv6.disable=1\n"
    error = refusal(machine, tmp_path, ipFamily="dual")
    assert error.what == "a cluster with IPv6 is impossible here"
    assert error.cause.splitlines() == [
        "IPv6: /proc/net/if_inet6 does not exist: the kernel was started with ipv6.disable=1",
        "ip6tables: refused",
    ]
    assert "remove ipv6.disable=1 from the kernel's command line" in error.next_step
    assert any("--ip-family ipv4" in note for note in error.notes)
    assert any("--kernel debian" in note for note in error.notes)


def test_an_engine_is_asked_for_ipv6_only_by_labs_on_kind_that_have_it() -> None:
    kinds = {"namespaces": False, "kind": True}
    for provider, asked in kinds.items():
        ids = {one.id for one in concerning(LabSpec(provider=provider, ip_family="dual"))}
        assert ("docker-ipv6" in ids) is asked
    assert "docker-ipv6" not in {one.id for one in concerning(LabSpec(provider="kind"))}


def test_the_machines_own_switch_is_no_hindrance(tmp_path: Path) -> None:
    machine = Machine(files={"/proc/sys/net/ipv6/conf/all/disable_ipv6": "1\n"})
    found = check("ipv6", machine, tmp_path)
    assert found.status == "ok"
    assert "the machine's own is disabled, which clusters do not need" in found.detail
    assert any("disable_ipv6" in word for words in machine.ran for word in words)


def test_another_kernel_is_no_way_out_where_more_than_the_kernel_is_missing(tmp_path: Path) -> None:
    kernel = refusal(Machine(no_links={"geneve"}), tmp_path, cni="cilium-geneve")
    more = refusal(Machine(no_links={"geneve"}, user=1000), tmp_path, cni="cilium-geneve")
    inside = refusal(Machine(no_links={"geneve"}), tmp_path, cni="cilium-geneve", kernel="debian")
    assert [any("--kernel" in note for note in one.notes) for one in (kernel, more, inside)] == [True, False, False]


def test_every_need_of_a_variant_is_a_question() -> None:
    """One that is not would be passed over, and the variant would come up where it cannot work."""
    assert set(get_args(Need)) <= {one.id for one in CHECKS}


def test_a_machine_says_in_a_line_why_clusters_have_no_ipv6() -> None:
    assert lacking(Machine()) == ""
    switched_off = Machine(absent=WITHOUT_IPV6, files={"/proc/cmdline": "quiet ipv6.disable=1\n"})
    said = "/proc/net/if_inet6 does not exist: the kernel was started with ipv6.disable=1"
    assert lacking(switched_off) == f"this machine has no IPv6: {said}"
    found = lacking(Machine(failing={"ip6tables"}))
    assert found == "this machine cannot have IPv6 in namespaces of its own: ip6tables: refused"


def test_who_is_not_root_cannot_ask_the_kernel_for_ipv6() -> None:
    assert lacking(Machine(user=1000, failing={"ip6tables"})) == ""
