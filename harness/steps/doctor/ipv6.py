"""Checks of `doctor` that concern clusters with IPv6: whether the kernel has it, for namespaces of its own too."""

from __future__ import annotations

from typing import Final

from harness.steps.doctor.model import Answer, Plan, Question

_SWITCH: Final = "/proc/sys/net/ipv6/conf/all/disable_ipv6"
_PARAMETER: Final = "ipv6.disable=1"

# As nodes do: what a new namespace begins with is the machine's or the kernel's choice (admin-guide/sysctl/net.rst,
# devconf_inherit_init_net), and nodes set their own.
_ADDRESS: Final = """\
for one in all default lo; do echo 0 2>/dev/null >/proc/sys/net/ipv6/conf/$one/disable_ipv6; done
exec ip -6 address add fd00::1/128 dev lo
"""

_PING: Final = "ip link set lo up && exec ping -6 -n -c 1 -W 2 ::1"


def _kernel(plan: Plan) -> Answer:
    if not plan.host.exists("/proc/net/if_inet6"):
        told = _PARAMETER in plan.host.read("/proc/cmdline").split()
        told = told or plan.host.read("/sys/module/ipv6/parameters/disable").strip() == "1"
        detail = "/proc/net/if_inet6 does not exist" + (f": the kernel was started with {_PARAMETER}" if told else "")
        fix = f"remove {_PARAMETER} from the kernel's command line, and restart the machine" if told else ""
        return Answer(ok=False, detail=detail, fix=fix)
    done = plan.host.unshared(["sh", "-c", _ADDRESS])
    if not done.ok:
        return Answer(ok=False, detail=f"a temporary namespace got no address: {done.tail(1)}")
    off = plan.host.read(_SWITCH).strip() == "1"
    rest = "; the machine's own is disabled, which clusters do not need" if off else ""
    return Answer(ok=True, detail=f"an address in a temporary namespace{rest}")


def _ip6tables(plan: Plan) -> Answer:
    rule = ["-t", "nat", "-A", "POSTROUTING", "-m", "comment", "--comment", "cnilab", "-j", "MASQUERADE"]
    done = plan.host.unshared(["ip6tables", "-w", *rule])
    version = plan.host.run(["ip6tables", "--version"]).stdout.strip()
    fix = "modprobe ip6table_nat, or use a kernel with IP6_NF_NAT" if plan.host.exists("/proc/modules") else ""
    return Answer(done.ok, version if done.ok else done.tail(1), fix)


def _ping(plan: Plan) -> Answer:
    done = plan.host.unshared(["sh", "-c", _PING])
    return Answer(done.ok, "::1 answers in a temporary namespace" if done.ok else done.tail(1))


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
