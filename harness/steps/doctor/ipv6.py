"""Checks of `doctor` that concern clusters with IPv6: whether the kernel has it, for namespaces of its own too."""

from __future__ import annotations

from typing import Final

from harness.model.references import NO_IPV6
from harness.steps.doctor.host import Host
from harness.steps.doctor.model import Answer, Plan, Question

_ADDRESSES: Final = "/proc/net/if_inet6"
_SWITCH: Final = "/proc/sys/net/ipv6/conf/all/disable_ipv6"

# As nodes do: what a new namespace begins with is the machine's or the kernel's choice (admin-guide/sysctl/net.rst,
# devconf_inherit_init_net), and nodes set their own.
_ADDRESS: Final = """\
for one in all default lo; do echo 0 2>/dev/null >/proc/sys/net/ipv6/conf/$one/disable_ipv6; done
exec ip -6 address add fd00::1/128 dev lo
"""

_PING: Final = "ip link set lo up && exec ping -6 -n -c 1 -W 2 ::1"


def _kernel(plan: Plan) -> Answer:
    return _of_kernel(plan.host)


def _of_kernel(host: Host) -> Answer:
    if not host.exists(_ADDRESSES):
        told = NO_IPV6 in host.read("/proc/cmdline").split()
        told = told or host.read("/sys/module/ipv6/parameters/disable").strip() == "1"
        detail = f"{_ADDRESSES} does not exist" + (f": the kernel was started with {NO_IPV6}" if told else "")
        fix = f"remove {NO_IPV6} from the kernel's command line, and restart the machine" if told else ""
        return Answer(ok=False, detail=detail, fix=fix)
    done = host.unshared(["sh", "-c", _ADDRESS])
    if not done.ok:
        return Answer(ok=False, detail=f"a temporary namespace got no address: {done.tail(1)}")
    off = host.read(_SWITCH).strip() == "1"
    rest = "; the machine's own is disabled, which clusters do not need" if off else ""
    return Answer(ok=True, detail=f"an address in a temporary namespace{rest}")


def _ip6tables(plan: Plan) -> Answer:
    return _of_firewall(plan.host)


def _of_firewall(host: Host) -> Answer:
    rule = ["-t", "nat", "-A", "POSTROUTING", "-m", "comment", "--comment", "cnilab", "-j", "MASQUERADE"]
    done = host.unshared(["ip6tables", "-w", *rule])
    version = host.run(["ip6tables", "--version"]).stdout.strip()
    fix = "modprobe ip6table_nat, or use a kernel with IP6_NF_NAT" if host.exists("/proc/modules") else ""
    return Answer(done.ok, version if done.ok else done.tail(1), fix)


def _ping(plan: Plan) -> Answer:
    done = plan.host.unshared(["sh", "-c", _PING])
    return Answer(done.ok, "::1 answers in a temporary namespace" if done.ok else done.tail(1))


def lacking(host: Host | None = None) -> str:
    """Why this machine cannot have a cluster with IPv6, in a line; empty where it can, or where that is not known.

    Args:
        host: The machine. Only root can ask its kernel, and only with programs that it has.
    """
    host = host or Host()
    if not host.exists(_ADDRESSES):
        return f"this machine has no IPv6: {_of_kernel(host).detail}"
    for program, ask in (("ip", _of_kernel), ("ip6tables", _of_firewall)):
        if host.uid() == 0 and host.which(program) and not (found := ask(host)).ok:
            return f"this machine cannot have IPv6 in namespaces of its own: {program}: {found.detail}"
    return ""


CHECKS: tuple[Question, ...] = (
    Question(
        "ipv6",
        "IPv6",
        "blocks",
        "nodes and pods have no IPv6 addresses",
        "use a kernel with IPV6",
        _kernel,
        "ip",
        family="ipv6",
    ),
    Question(
        "ip6tables",
        "ip6tables",
        "blocks",
        "IPv6 Services and masquerade do not work",
        "use a kernel with IP6_NF_NAT and NETFILTER_XT_TARGET_MASQUERADE",
        _ip6tables,
        "ip6tables",
        family="ipv6",
    ),
    Question(
        "ping6",
        "ping -6",
        "limits",
        "labs and traces cannot ping over IPv6",
        "apt-get install iputils-ping",
        _ping,
        "ping",
        family="ipv6",
    ),
)
