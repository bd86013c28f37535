"""The outside world of a lab on kind: one container beside the nodes that plays the router and the far host.

The far host is a network namespace inside that container, behind a link with a smaller MTU: another Docker network
would need addresses that are one for the whole engine, and two labs could not be up at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

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


def script() -> str:
    """What the router's container runs: links and addresses, then the far host's services and the router's own."""
    far_addresses = f"{world.FAR_HOST}/{world.FAR_LINK.prefixlen}"
    lines = [
        f"mkdir -p /run/netns {world.LOG.rpartition('/')[0]}",
        "echo 1 >/proc/sys/net/ipv4/ip_forward",
        "echo 0 >/proc/sys/net/ipv4/conf/all/rp_filter",
        # It forwards to the engine's gateway, which is on the nodes' own network: they shall not learn to go there.
        "for file in /proc/sys/net/ipv4/conf/*/send_redirects; do echo 0 >$file; done",
        # A bridge without ports holds the addresses of the networks "behind" the router, as a dummy link would.
        "ip link add world0 type bridge",
        "ip link set world0 up",
        *(f"ip addr add {address} dev world0" for address in (world.PUBLIC, world.NEIGHBOUR, *world.LOOPBACKS)),
        f"ip netns add {FAR}",
        f"ip link add far0 mtu {world.FAR_MTU} type veth peer name eth0 mtu {world.FAR_MTU} netns {FAR}",
        f"ip addr add {world.FAR_ROUTER}/{world.FAR_LINK.prefixlen} dev far0",
        "ip link set far0 up",
        f"ip -n {FAR} link set lo up",
        f"ip -n {FAR} addr add {far_addresses} dev eth0",
        f"ip -n {FAR} link set eth0 up",
        f"ip -n {FAR} route add default via {world.FAR_ROUTER}",
        f"nsenter --net={FAR_NETNS} {RESPONDER} serve --name={FAR} --ports={world.RESPONDER_PORT},{world.WEB_PORT} &",
        f"exec {RESPONDER} world --name={ROUTER} --log={world.LOG}",
    ]
    return "\n".join(lines) + "\n"


def create(engine: Engine, place: LabDir, network: DockerNetwork, image: str, responder: Path) -> Container:
    """Start the router.

    Args:
        engine: Where.
        place: The lab's directories.
        network: The nodes' network; the router is its first address.
        image: The node image: it has the tools.
        responder: The program that plays the world.
    """
    made = engine.make(
        router_name(place),
        image,
        network,
        network.subnet[1],
        hostname=ROUTER,
        labels=state.labels(place),
        entrypoint=["/bin/sh", "-ec", script()],
        command=[],
        privileged=True,
        stop_signal="SIGKILL",
    )
    engine.put(made, "/", {RESPONDER.lstrip("/"): responder})
    engine.start(made)
    return engine.inspect(made, network.name)


def node_commands(spec: LabSpec) -> list[tuple[str, ...]]:
    """What a node runs to be a node of a lab, whatever image it is made of, and once there is a router.

    Its way out leads over the router, which sends on what is not its own to the engine's gateway.
    """
    return [("ip", "route", "replace", "default", "via", str(spec.router_address), "dev", spec.cluster_nic)]


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
    return "".join(f"{spec.node_address(name)}\t{name}\n" for name in spec.node_names)


def resolver(spec: LabSpec) -> str:
    """A node's /etc/resolv.conf: the router's name server, as with other providers."""
    return f"nameserver {spec.router_address}\n"
