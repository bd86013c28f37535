"""The outside world of a lab on kind: one container beside the nodes that plays the router and the far host.

The far host is a network namespace inside that container, behind a link with a smaller MTU: another Docker network
would need addresses that are one for the whole engine, and two labs could not be up at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final, Protocol

from harness.model import world
from harness.model.labstate import LabDir
from harness.model.spec import LabSpec
from harness.providers.kind import state
from harness.providers.kind.answers import Container, DockerNetwork
from harness.providers.kind.engine import Engine

ROUTER = "router"
FAR = "far"
FAR_NETNS = f"/run/netns/{FAR}"
RESPONDER = "/opt/cnilab/bin/responder"


def router_name(place: LabDir) -> str:
    """Name of the router's container."""
    return f"{state.network_name(place)}-{ROUTER}"


def script(spec: LabSpec) -> str:
    """What the router's container runs: links and addresses, then the far host's services and the router's own."""
    six = "ipv6" in spec.families
    lines = [
        f"mkdir -p /run/netns {world.LOG.rpartition('/')[0]}",
        "echo 1 >/proc/sys/net/ipv4/ip_forward",
        *(["echo 1 >/proc/sys/net/ipv6/conf/all/forwarding"] if six else ()),
        "echo 0 >/proc/sys/net/ipv4/conf/all/rp_filter",
        # It forwards to the engine's gateway, which is on the nodes' own network: they shall not learn to go there.
        # Of IPv6 there is no such switch, and who forwards, as nodes do, takes no redirects (ip-sysctl.rst).
        "for file in /proc/sys/net/ipv4/conf/*/send_redirects; do echo 0 >$file; done",
        # A bridge without ports holds the addresses of the networks "behind" the router, as a dummy link would.
        "ip link add world0 type bridge",
        "ip link set world0 up",
        *(_adding(address, "world0") for family in spec.families for address in world.addresses(family)),
        f"ip netns add {FAR}",
        f"ip link add far0 mtu {world.FAR_MTU} type veth peer name eth0 mtu {world.FAR_MTU} netns {FAR}",
        *(_adding(f"{world.far_router(one)}/{world.far_link(one).prefixlen}", "far0") for one in spec.families),
        "ip link set far0 up",
        f"ip -n {FAR} link set lo up",
        *(_adding(f"{world.far_host(one)}/{world.far_link(one).prefixlen}", "eth0", FAR) for one in spec.families),
        f"ip -n {FAR} link set eth0 up",
        *(f"ip -n {FAR} route add default via {world.far_router(one)}" for one in spec.families),
        f"nsenter --net={FAR_NETNS} {RESPONDER} serve --name={FAR} --ports={world.RESPONDER_PORT},{world.WEB_PORT} &",
        f"exec {RESPONDER} world --name={ROUTER} --log={world.LOG}",
    ]
    return "\n".join(lines) + "\n"


def _adding(address: object, link: str, netns: str = "") -> str:
    """The command that gives a link an address: in IPv6 without a second's pause to ask whether somebody has it."""
    where = f"-n {netns} " if netns else ""
    return f"ip {where}addr add {address} dev {link}{' nodad' if ':' in str(address) else ''}"


IPV6: Final = {"net.ipv6.conf.all.disable_ipv6": "0", "net.ipv6.conf.all.forwarding": "1"}
"""Settings of a container that has IPv6, as kind's nodes have them: engines disable it where they are not told."""


class Wanted(Protocol):
    """What the router is made of."""

    @property
    def image(self) -> str:
        """The node image: it has the tools."""
        ...

    @property
    def responder(self) -> Path:
        """The program that plays the world."""
        ...


def create(engine: Engine, place: LabDir, spec: LabSpec, network: DockerNetwork, wanted: Wanted) -> Container:
    """Start the router.

    Args:
        engine: Where.
        place: The lab's directories.
        spec: The lab.
        network: The nodes' network; the router is its first address.
        wanted: What it is made of.
    """
    made = engine.make(
        router_name(place),
        wanted.image,
        network,
        1,
        hostname=ROUTER,
        labels=state.labels(place),
        entrypoint=["/bin/sh", "-ec", script(spec)],
        command=[],
        privileged=True,
        stop_signal="SIGKILL",
        **({"sysctls": IPV6} if "ipv6" in spec.families else {}),
    )
    engine.put(made, "/", {RESPONDER.lstrip("/"): wanted.responder})
    engine.start(made)
    return engine.inspect(made, network.name)


def node_commands(spec: LabSpec) -> list[tuple[str, ...]]:
    """What a node runs to be a node of a lab, whatever image it is made of, and once there is a router.

    Its way out leads over the router, which sends on what is not its own to the engine's gateway.
    """
    return [
        ("ip", "route", "replace", "default", "via", str(spec.router(family)), "dev", spec.cluster_nic)
        for family in spec.families
    ]


def unfiltered(links: Iterable[str]) -> tuple[str, ...]:
    """The command that takes reverse path filters off a node: an asymmetric path is a lesson, not an attack.

    Args:
        links: Names as in /proc/sys/net/ipv4/conf: `default` is what links begin with that are made later. One that is
            gone meanwhile is no error.
    """
    return ("sysctl", "-q", "-e", "-w", *(f"net/ipv4/conf/{name}/rp_filter=0" for name in links))


def hosts(spec: LabSpec) -> str:
    """Lines of a node's /etc/hosts for all nodes: kubeconfigs of kind have names that only Docker's name server knows.

    kubelet gives the file to pods of the host's network, kube-proxy among them.
    """
    return "".join(f"{address}\t{name}\n" for name in spec.node_names for address in spec.all_addresses(name))


def resolver(spec: LabSpec) -> str:
    """A node's /etc/resolv.conf: the router's name server, as with other providers."""
    return "".join(f"nameserver {spec.router(family)}\n" for family in spec.families)
