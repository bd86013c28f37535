"""A lab for a caller with other habits, on a machine with other settings.

A strict umask, another language, directories with odd names, a proxy; sysctls of a hardening script.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from harness import apart, yamlio
from harness.model import firstly, sysctls
from harness.model.run import RunDir
from tests.e2e.conftest import Cli
from tests.e2e.test_cluster import kubectl
from tests.socks5 import Socks
from tests.tunnel import Tunnel

ODD = "a b,c:'\"$(d)\\ä"
"""Characters that mean something to a shell, to the options of an overlay, or to nobody."""

FOREIGN = {"LC_ALL": "xx_YY.ISO-8859-1", "LANGUAGE": "de:fr", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
"""A language that the machine does not have."""

STRANGER = """\
apiVersion: v1
kind: Pod
metadata: {name: stranger, namespace: default}
spec:
  terminationGracePeriodSeconds: 0
  securityContext: {runAsUser: 1234, runAsNonRoot: true}
  containers: [{name: main, image: cnilab.dev/toolbox:1, imagePullPolicy: Never, command: [sleep, "3600"]}]
"""


class Caller(Cli):
    """Somebody with such habits."""

    @property
    def state(self) -> Path:
        """See `Cli.state`."""
        return self.home / "state" / ODD

    @property
    def cache(self) -> Path:
        """A cache of this user's own."""
        return self.home / "cache" / ODD

    @property
    def environment(self) -> dict[str, str]:
        """See `Cli.environment`."""
        return {**super().environment, **FOREIGN, "CNILAB_CACHE": str(self.cache)}

    def argv(self, *words: str | Path) -> list[str]:
        """See `Cli.argv`."""
        return ["/bin/sh", "-c", 'umask 077 && exec "$@"', "sh", *super().argv(*words)]


@pytest.fixture
def caller(cli: Cli) -> Caller:
    """The components are the warm cache's; images, and what containerd has, are made anew by this user."""
    known = Path(cli.environment.get("CNILAB_CACHE") or Path.home() / ".cache/cnilab")
    user = Caller(cli.home / "work, and play")
    user.home.mkdir()
    user.cache.mkdir(parents=True)
    shutil.copytree(known / "components", user.cache / "components")
    return user


def test_the_callers_umask_language_and_odd_directories_do_not_matter(caller: Caller, untouched: list[str]) -> None:
    name = untouched[0]
    try:
        line = caller("up", "flannel", "--name", name).stdout
        script = 'eval "$1" && cat "$KUBECONFIG" && stat -c %a "$KUBECONFIG"'
        shell = subprocess.run(["/bin/sh", "-c", script, "sh", line], capture_output=True, check=True, text=True)
        assert f"name: cnilab-{name}\n" in shell.stdout
        assert shell.stdout.splitlines()[-1] == "600"
        kubectl((caller, name), "apply", "-f", "-", text=STRANGER)
        kubectl((caller, name), "wait", "--for=condition=Ready", "pod/stranger", "--timeout=60s")
        assert kubectl((caller, name), "exec", "stranger", "--", "cat", "/etc/resolv.conf").startswith("search ")
        caller("apply", "--cluster", name, "pod-pause")
        # The second containers of the suite's pods run as nobody.
        caller("test", "--cluster", name, "--select", "model.ctr.shared,model.localhost")
    finally:
        caller("down", name)


@pytest.mark.night
def test_an_api_server_behind_a_proxy_is_reached_through_it_and_a_labs_own_never(
    flannel: tuple[Cli, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli, name = flannel
    known = yamlio.loads((cli.state / "labs" / name / "kubeconfig").read_text(encoding="utf-8"))
    cluster = known["clusters"][0]["cluster"]
    port = int(cluster["server"].rpartition(":")[2])
    # A name that only the proxy knows: nothing can go past it.
    cluster |= {"server": "https://cluster.test:6443", "tls-server-name": "localhost"}
    far = tmp_path / "kubeconfig"
    far.write_text(yamlio.dumps(known), encoding="utf-8")
    with Tunnel({"cluster.test:6443": port}) as tunnel:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{tunnel.port}")
        monkeypatch.setenv("NO_PROXY", "example.com")
        cli("doctor", "--kubeconfig", far)
        # Requests, short programs in pods and on nodes, and captures, each of which is a process of its own.
        cli("test", "--kubeconfig", far, "--select", "model.pod-pod.*,model.no-nat.wire,node.links,dns.search")
        found = {one.id: one.status for one in RunDir(cli.home / ".runs" / "latest").results()}
        assert found == dict.fromkeys(found, "pass")
        assert {"model.pod-pod.cross-node", "model.no-nat.wire", "node.links", "dns.search"} <= set(found)
        asked = len(tunnel.asked)
        assert {line.rpartition(" ")[0] for line in tunnel.asked} == {"CONNECT cluster.test:6443"}
        cli("test", "--cluster", name, "--select", "model.self")
        assert len(tunnel.asked) == asked
    monkeypatch.delenv("HTTPS_PROXY")
    with Socks({"cluster.test:6443": port}) as proxy:
        cluster["proxy-url"] = f"socks5://127.0.0.1:{proxy.port}"
        far.write_text(yamlio.dumps(known), encoding="utf-8")
        cli("test", "--kubeconfig", far, "--select", "model.pod-pod.*,node.links")
        assert set(proxy.asked) == {"cluster.test:6443"}


def program(path: Path, text: str) -> Path:
    """A shell's program."""
    path.write_text(text if text.startswith("#!") else f"#!/bin/sh\nset -eu\n{text}\n")
    path.chmod(0o755)
    return path


ODD_NETWORK = "for file in /proc/sys/net/ipv4/conf/*/arp_ignore; do echo 8 >$file; done"
SHOWN = "cat /proc/sys/net/ipv4/conf/*/arp_ignore"


def test_what_a_hardened_machine_hands_down_is_settled_in_nodes_of_kind_and_their_pods(tmp_path: Path) -> None:
    first = tmp_path / "firstly"
    hook = program(tmp_path / "hook", "exit 0")
    program(first, firstly.script(str(first), str(hook)))
    # As such a machine makes a container, which starts with the program; and its pods' namespaces, with the hook.
    pod = program(tmp_path / "pod", f"{ODD_NETWORK}; {hook}; {SHOWN}")
    inside = program(tmp_path / "inside", f"{SHOWN}; unshare --net {pod}")
    node = program(tmp_path / "node", f"mount -t tmpfs tmpfs /run; {ODD_NETWORK}; exec {first} {inside}")
    done = subprocess.run([*apart.words("--net"), node], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) == {"0"}
    assert hook.read_text().count("--network") == 1


def test_a_node_of_kind_on_a_usual_machine_keeps_its_hook_as_it_is(tmp_path: Path) -> None:
    first = tmp_path / "firstly"
    hook = program(tmp_path / "hook", "exit 0")
    before = hook.read_text()
    program(first, firstly.script(str(first), str(hook)))
    usual = " ".join(f"'{word}'" for word in sysctls.words())
    made = f'for word in {usual}; do for file in /proc/sys/${{word%=*}}; do echo "${{word#*=}}" >$file; done; done'
    node = program(tmp_path / "node", f"mount -t tmpfs tmpfs /run; {made}; exec {first} true")
    subprocess.run([*apart.words("--net"), node], check=True)
    assert hook.read_text() == before


def test_what_a_hardened_machine_hands_down_is_settled_in_a_pods_network(flannel: tuple[Cli, str]) -> None:
    cli, name = flannel
    # The hook of such a machine's container runtime, in a namespace that inherited what no pod can do with.
    script = (
        "for file in /proc/sys/net/ipv4/conf/*/arp_ignore; do echo 8 >$file; done;"
        ' nodeinit settle "$@" && cat /proc/sys/net/ipv4/conf/*/arp_ignore'
    )
    words = ("unshare", "--net", "sh", "-c", script, "sh", *sysctls.words())
    assert set(cli("exec", "--cluster", name, "n1", "--", *words).stdout.split()) == {"0"}
    # A pod in its node's network has the node's, which are not the hook's to change.
    cli("exec", "--cluster", name, "n1", "--", "nodeinit", "settle", "net/ipv4/conf/lo/arp_ignore=1")
    assert cli("exec", "--cluster", name, "n1", "--", "cat", "/proc/sys/net/ipv4/conf/lo/arp_ignore").stdout == "0\n"
