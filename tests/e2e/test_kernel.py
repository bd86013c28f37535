"""Labs under Debian's kernel, in a virtual machine: cgroup v2, loadable modules, links that the machine's own may lack.

Emulated, each takes many minutes: `tox -e kernel`, nightly. One small lab is a part of `tox -e night`, too.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from harness import timeouts
from harness.model.references import NO_IPV6
from tests.e2e import stores
from tests.e2e.conftest import PREFIX, Cli
from tests.e2e.test_surroundings import FOREIGN, ODD
from tests.e2e.test_vagrant_run import kubectl

long = pytest.mark.skipif(not os.environ.get("CNILAB_KERNEL_TESTS"), reason="takes long: tox -e kernel")
pytestmark = [
    pytest.mark.skipif(shutil.which("apt-get") is None, reason="the kernel comes from a Debian package"),
    pytest.mark.timeout(7200, func_only=True),
]

OK = {"pass", "not-applicable"}
OWN = "responder"
"""On the nodes and in images: a program that a lab gets in two ways."""

FOR_VARIANTS = ("dummy", "geneve", "wireguard", "vxlan", "ipset", "ipvs", "netem")


def judged(lab: tuple[Cli, str], select: str) -> dict[str, str]:
    """Run requirements of the suite; returns verdicts by id."""
    cli, name = lab
    data = cli.data("test", "--cluster", name, "--select", select, timeout=5400)
    return {item["id"]: item["status"] for item in data["items"]}


def nodes_of(lab: tuple[Cli, str]) -> list[dict[str, Any]]:
    """As kubectl outside sees them; the lab's own programs are in the machine."""
    cli, name = lab
    config = cli.state / "labs" / name / "kubeconfig"
    program: list[str | Path] = [kubectl(), "--kubeconfig", config, "--cache-dir", cli.home / "kubectl"]
    done = subprocess.run(
        [*program, "get", "nodes", "-o", "json"], capture_output=True, text=True, check=False, timeout=180
    )
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)["items"]
    return found


class Foreigner(Cli):
    """A user with another language, whose state is in a directory with an odd name."""

    @property
    def state(self) -> Path:
        """See `Cli.state`."""
        return self.home / ODD

    @property
    def environment(self) -> dict[str, str]:
        """See `Cli.environment`."""
        return {**super().environment, **FOREIGN}


@contextmanager
def in_a_machine(cli: Cli, name: str, *words: str) -> Iterator[tuple[Cli, str]]:
    """A lab under Debian's kernel as long as the context is open; nothing of it may be left."""
    cli("up", *words, "--name", name, "--kernel", "debian", timeout=5400)
    yield cli, name
    cli("down", name, timeout=1200)
    assert cli.labs() == {}
    assert not (cli.state / "labs").exists()
    assert of_this_user(cli) == []
    # qemu's virtiofsd leaves a file for each of its sockets.
    assert list(Path("/run/virtiofsd").glob(f".*{name}*")) == []


# Of a class, not of the module: on two cores a machine that nobody needs any more takes the time of the next one.
@pytest.fixture(scope="class")
def small(warm: Cli, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cli, str]]:
    """One node with bridge: what is different under cgroup v2 is in it. One of its programs is the user's own.

    Its kernel has no IPv6 at all, which no namespace of this machine can have.
    """
    del warm
    home = tmp_path_factory.mktemp("kernel-small")
    mine = home / OWN
    mine.write_bytes(stores.store().ensure([OWN])[OWN].path.read_bytes() + b"mine")  # an ELF file may end with anything
    # On an emulated processor every probe counts: the lab of two nodes has what a cluster has unasked.
    words = ("bridge", "--nodes", "1", "--kernel-arguments", NO_IPV6, "--component", f"{OWN}={mine}")
    with in_a_machine(Foreigner(home), f"{PREFIX}-small", *words) as made:
        yield made


@pytest.fixture(scope="class")
def lab(warm: Cli, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cli, str]]:
    """One lab with flannel and two nodes."""
    del warm
    with in_a_machine(Cli(tmp_path_factory.mktemp("kernel")), f"{PREFIX}-kernel", "flannel") as made:
        yield made


def of_this_user(cli: Cli) -> list[str]:
    """Command lines of processes that belong to labs of a state directory."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        # In lists of options commas are doubled (qemu), or escaped as backslashes are (virtiofsd).
        plain = line.replace(",,", ",").replace("\\,", ",").replace("\\\\", "\\")
        if f"{cli.state}/" in plain:
            found.append(line)
    return found


@long
def test_doctor_sees_the_other_kernel(warm: Cli, cli: Cli) -> None:
    del warm
    findings = {item["id"]: item for item in cli.data("doctor", "flannel", "--kernel", "debian")["items"]}
    assert findings["cgroup-controllers"]["detail"] == "v2"
    assert findings["br-netfilter"]["detail"] == "a module that the first cluster loads"
    assert {name: findings[name]["status"] for name in FOR_VARIANTS} == dict.fromkeys(FOR_VARIANTS, "ok")
    assert not [item["id"] for item in findings.values() if item["status"] in {"blocks", "limits"}]
    assert of_this_user(cli) == []


@long
def test_doctor_names_what_a_kernel_without_ipv6_cannot_have_and_what_to_do(warm: Cli, cli: Cli) -> None:
    del warm
    words = ("doctor", "flannel", "--ip-family", "dual", "--kernel", "debian", "--kernel-arguments", NO_IPV6)
    findings = {item["id"]: item for item in cli.data(*words, code=10)["items"]}
    assert findings["ipv6"]["status"] == "blocks"
    assert findings["ipv6"]["detail"] == f"/proc/net/if_inet6 does not exist: the kernel was started with {NO_IPV6}"
    assert findings["ipv6"]["fix"] == f"remove {NO_IPV6} from the kernel's command line, and restart the machine"


@pytest.mark.night
class TestSmallLab:
    """One node with bridge, in a directory with an odd name, of a user with another language."""

    def test_has_a_kernel_without_ipv6_and_is_a_cluster_of_ipv4_for_that(self, small: tuple[Cli, str]) -> None:
        cli, name = small
        cli("exec", "--cluster", name, "n1", "--", "test", "!", "-e", "/proc/net/if_inet6")
        assert cli.data("status")["items"][0]["spec"]["ipFamily"] == "ipv4"
        (node,) = nodes_of(small)
        (cidr,) = node["spec"]["podCIDRs"]
        assert ":" not in cidr

    def test_has_cgroup_v2_and_its_pods_are_in_it(self, small: tuple[Cli, str]) -> None:
        cli, name = small
        release = cli("exec", "--cluster", name, "n1", "--", "uname", "-r").stdout.strip()
        assert release.endswith("-cloud-amd64")
        assert release != os.uname().release
        controllers = cli(
            "exec", "--cluster", name, "n1", "--", "cat", "/sys/fs/cgroup/cgroup.controllers"
        ).stdout.split()
        assert {"cpu", "cpuset", "memory", "pids"} <= set(controllers)
        line = cli("exec", "--cluster", name, "n1", "--", "cat", "/proc/self/cgroup").stdout
        assert re.fullmatch(r"0::/\S*\n", line), "another hierarchy than that of version 2"
        program = "import glob; print(*glob.glob('/sys/fs/cgroup/**/kubepods*/**/pod*/memory.max', recursive=True))"
        assert cli("exec", "--cluster", name, "n1", "--", "python3", "-c", program).stdout.strip()

    def test_has_the_program_that_was_brought(self, small: tuple[Cli, str]) -> None:
        cli, name = small
        digest = hashlib.sha256((cli.home / OWN).read_bytes()).hexdigest()
        seen = cli("exec", "--cluster", name, "n1", "--", "sh", "-c", f"sha256sum $(command -v {OWN})").stdout
        assert seen.split()[0] == digest
        (run,) = (cli.home / ".runs").glob(f"*-{name}")
        pins = {pin["name"]: pin for pin in json.loads((run / "run.json").read_text())["pins"]}
        assert (pins[OWN]["source"], pins["etcd"]["source"] != "own") == ("own", True)

    def test_kubectl_reaches_it_from_outside(self, small: tuple[Cli, str]) -> None:
        (node,) = nodes_of(small)
        assert node["metadata"]["name"] == "n1"
        assert "cloud" in node["status"]["nodeInfo"]["kernelVersion"]

    @long
    def test_passes_what_the_suite_asks_of_the_model_and_of_its_node(self, small: tuple[Cli, str]) -> None:
        statuses = judged(small, "model.*,node.*,dns.*")
        assert {name: status for name, status in statuses.items() if status not in OK} == {}
        assert sum(status == "pass" for status in statuses.values()) >= 12
        cli, name = small
        cli("report", "--cluster", name)
        (run,) = (cli.home / ".runs").glob(f"*-{name}")
        info = json.loads((run / "run.json").read_text())
        assert (info["host"]["cgroups"], "cloud" in info["host"]["kernel"]) == ("v2", True)
        assert f"--kernel debian --kernel-arguments {NO_IPV6}" in info["reproduce"]
        assert (run / "report.html").is_file()


@long
class TestTwoNodes:
    """Two nodes with flannel."""

    def test_two_nodes_are_joined(self, lab: tuple[Cli, str]) -> None:
        nodes = nodes_of(lab)
        assert [node["metadata"]["name"] for node in nodes] == ["n1", "n2"]
        assert all("cloud" in node["status"]["nodeInfo"]["kernelVersion"] for node in nodes)

    def test_the_suite_says_of_two_nodes_what_it_says_elsewhere(self, lab: tuple[Cli, str]) -> None:
        statuses = judged(lab, "model.*,mtu.*,node.overlay,ipam.*")
        assert {name: status for name, status in statuses.items() if status not in OK} == {}
        assert sum(status == "pass" for status in statuses.values()) >= 20


IPVS = "apiVersion: cnilab.dev/v1\nkind: Lab\nspec: {cni: flannel, kubernetes: {proxyMode: ipvs}}\n"


@long
@pytest.mark.parametrize("target", ["cilium-geneve", "cilium-wireguard", "ipvs.yaml"])
def test_what_needs_that_kernel_works_there(target: str, cli: Cli, untouched: list[str]) -> None:
    (cli.home / "ipvs.yaml").write_text(IPVS)
    with in_a_machine(cli, untouched[0], target) as made:
        statuses = judged(made, "model.*,mtu.*,svc.*,dns.service")
        assert {one: status for one, status in statuses.items() if status not in OK} == {}
        assert sum(status == "pass" for status in statuses.values()) >= 35
        if target == "ipvs.yaml":
            seen = cli("exec", "--cluster", made[1], "n1", "--", "cat", "/proc/net/ip_vs").stdout
            # The API server's Service, 10.96.0.1:443, with a scheduler; the heading is there without any.
            assert re.search(r"^TCP +0A600001:01BB rr", seen, re.MULTILINE), seen


@long
def test_a_killed_bring_up_leaves_nothing_that_down_does_not_find(cli: Cli, untouched: list[str]) -> None:
    name = untouched[0]
    process = cli.start("up", "bridge", "--name", name, "--nodes", "1", "--kernel", "debian")
    console = cli.state / "labs" / name / "vm" / "console.log"
    timeouts.wait_until("the machine to start", lambda: console.exists() or process.poll() is not None, 600)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    cli("down", name, timeout=600)
    assert of_this_user(cli) == []
    assert cli.labs() == {}


@long
def test_an_interrupted_bring_up_ends_soon_and_leaves_nothing(cli: Cli, untouched: list[str]) -> None:
    name = untouched[0]
    process = cli.start("up", "bridge", "--name", name, "--nodes", "1", "--kernel", "debian")
    log = cli.state / "labs" / name / "vm" / "console.log"

    def ready() -> bool:
        return process.poll() is not None or (log.exists() and "cnilab-vm: ready" in log.read_text(errors="replace"))

    timeouts.wait_until("the machine to be ready", ready, 600)
    process.send_signal(signal.SIGINT)
    # Cleaning up inside an emulated machine takes minutes; ending it does not.
    _, errors = process.communicate(timeout=timeouts.scaled(60))
    assert process.returncode == 130, errors
    assert of_this_user(cli) == []
    assert cli.labs() == {}
