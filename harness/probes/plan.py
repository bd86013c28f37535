"""What can be asked from where: sites, targets and the kinds of probe."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from harness.model.family import Family, Proto, endpoint, family_of_dial
from harness.model.outcome import Outcome
from harness.model.world import RESPONDER_PORT
from harness.runner import Runner

Extension = Literal["", "hop-by-hop", "destination"]
"""Headers of options between IPv6 and what it carries (RFC 8200 §4.3, §4.6)."""

NODE_BINARY = "/opt/cnilab/bin/responder"
"""The agent in a node's own file system."""

CONTAINER_BINARY = "/responder"
"""The agent in our images."""


@dataclass(frozen=True)
class Prober:
    """A place from which probes run.

    Args:
        name: Pod, node, `router` or `far`, as the observations will say.
        node: Name of its node; empty outside the cluster.
        ip: Its own address, in the primary family.
        runner: Runs programs there.
        binary: Path of the responder program there.
        ips: Its own addresses, where it has more than one.
    """

    name: str
    node: str
    ip: str
    runner: Runner = field(repr=False, compare=False, hash=False)
    binary: str = NODE_BINARY
    ips: tuple[str, ...] = ()

    def address(self, family: Family) -> str:
        """Its own address of a family; empty when it has none."""
        return next((one for one in self.ips or (self.ip,) if one and family_of_dial(one) == family), "")

    def target(self, port: int = RESPONDER_PORT, family: Family | None = None) -> Target:
        """The site's own responder, as something to dial.

        Args:
            port: Where it listens.
            family: Of the address; None: the primary one.
        """
        return Target(self.name, self.node, self.ip if family is None else self.address(family), port)


@dataclass(frozen=True)
class Target:
    """Something to dial: a pod, a Service's virtual address, a node port, an address outside.

    Args:
        name: As the observations will say.
        node: Node of the target; empty where there is none, as for a Service.
        address: IP address.
        port: TCP or UDP port; ignored for ICMP.
    """

    name: str
    node: str
    address: str
    port: int = RESPONDER_PORT

    @property
    def dial(self) -> str:
        """Address and port, with brackets around an IPv6 address."""
        return endpoint(self.address, self.port)


@dataclass(frozen=True)
class Tls:
    """How a server's certificate is verified. No certificate and no token of ours is shown.

    Args:
        name: Name or address that it must be for.
        ca: PEM of the authorities; empty: the certificate is told, and not verified.
    """

    name: str
    ca: str = field(default="", repr=False)


@dataclass(frozen=True)
class ExchangeProbe:
    """One question to a responder; becomes an `Exchange`.

    Args:
        target: Whom to ask.
        proto: `icmp` is an echo request, matched by id and nonce; `tcp6`, `udp6` and `icmp6` go over IPv6.
        purpose: What the leg is for: mesh, hairpin, nodeport, egress, ports, integrity …
        size: Payload bytes; 1 MiB and more are fine over TCP (upload).
        source_port: Own port; 0 lets the kernel choose.
        expect: The outcome that ends the retries: `refused` for a port without a listener, `timeout` for a closed path.
        connect: TCP only: that the connection comes about is enough; for peers that are no responders.
        extension: UDP over IPv6 only: an extension header of options that do nothing, which every packet carries.
        one_syn: TCP only: a connection that took more than one SYN is tried again, as one without an answer is.
        tls: TCP only: ask for the server's certificate, and for nothing else.
    """

    target: Target
    proto: Proto = "tcp"
    purpose: str = "mesh"
    size: int = 64
    source_port: int = 0
    expect: Outcome = "ok"
    connect: bool = False
    extension: Extension = ""
    one_syn: bool = False
    tls: Tls | None = None


@dataclass(frozen=True)
class BindProbe:
    """Try to listen on a port; becomes an `Exchange` with outcome ok, or error with errno 98 when it is taken.

    Args:
        port: TCP or UDP port.
        proto: Transport.
        address: Own address; empty for all.
        purpose: As of the observation.
        expect: `error` when the port should be taken.
    """

    port: int
    proto: Proto = "tcp"
    address: str = ""
    purpose: str = "bind"
    expect: Outcome = "error"


@dataclass(frozen=True)
class RungProbe:
    """One datagram with DF, of a given size; becomes a `Rung`.

    Args:
        target: Whom to send it to.
        size: Bytes of the IP packet: 20 header, or 40 of IPv6, 8 UDP, the rest payload.
        expect: `msgsize` for a size that should be refused; silence (timeout) is then tried again.
        purpose: As of the observation.
        heed: The kernel's own route may refuse it; otherwise only links and the way do.
    """

    target: Target
    size: int
    expect: Outcome = "ok"
    purpose: str = "ladder"
    heed: bool = False


@dataclass(frozen=True)
class BurstProbe:
    """Numbered datagrams in one direction; becomes a `Burst`.

    The count is read at the receiver by the receiver's own agent when `target.name` is a site of the same batch, so
    that a broken way back does not matter. Otherwise the sender asks the receiver over TCP.

    Args:
        target: Whom to send to.
        count: Datagrams.
        size: Payload bytes of each.
        purpose: one-way, loss …
    """

    target: Target
    count: int = 20
    size: int = 64
    purpose: str = "one-way"


@dataclass(frozen=True)
class ChurnProbe:
    """Many connections; becomes a `Churn`.

    Args:
        target: Whom to connect to.
        sequential: Connections one after the other.
        parallel: Connections at once, afterwards.
        purpose: As of the observation.
    """

    target: Target
    sequential: int = 500
    parallel: int = 200
    purpose: str = "churn"


@dataclass(frozen=True)
class LookupProbe:
    """One DNS question; becomes a `Lookup`.

    Args:
        name: Absolute with a trailing dot, or relative: then `libc` walks the search list of /etc/resolv.conf.
        qtype: A, AAAA, SRV, PTR, TXT, CNAME, SOA, NS. For `libc`, `A+AAAA` asks both as getaddrinfo does.
        transport: `udp` and `tcp` send one raw query; `libc` does what a C library's resolver does.
        server: Address, with optional port; empty takes the first nameserver of the site's /etc/resolv.conf.
        edns: UDP payload size to advertise (RFC 6891); 0 sends no OPT record.
        expect: Outcome that ends the retries. An answer with any rcode is `ok`.
        purpose: service, headless, search, forward …
        family: The one that is looked at with it; the server may be reached over the other.
        times: `udp` only: ask so many times, once each and never again, from a new socket every time; what came of
            each question is in `Lookup.queries`. `A+AAAA` then sends both from that socket. 0: once, with retries.
        apart: With `times`: of several types each from a socket of its own.
    """

    name: str
    qtype: str = "A"
    transport: Literal["udp", "tcp", "libc"] = "udp"
    server: str = ""
    edns: int = 0
    expect: Outcome = "ok"
    purpose: str = "service"
    family: Family = "ipv4"
    times: int = 0
    apart: bool = False


Probe = ExchangeProbe | BindProbe | RungProbe | BurstProbe | ChurnProbe | LookupProbe
