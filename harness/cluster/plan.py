"""What runs on each node of a cluster: programs with their flags, and their files. Pure.

Everything here speaks of a node's own paths, so that the same plan serves every provider whose nodes are bare machines.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

from harness.cluster.kubeconfig import kubeconfig
from harness.cluster.node_config import (
    CONTAINER_SPEC,
    PKI,
    MachineFacts,
    containerd_config,
    kubelet_config,
)
from harness.cluster.pki import ClusterPki, Pair
from harness.model import sysctls
from harness.model.family import endpoint
from harness.model.machine import File, Machine, Service
from harness.model.spec import LabSpec
from harness.model.wellknown import API_PORT, CONTAINERD_SOCKET, CONTROLLER_REQUESTS

STOPPED = "/etc/kubernetes/stopped/{}"
"""A service whose file is there is not started again."""

# A bring-up is a burst of garbage: with Go's default of 100 the collector takes a fifth of its CPU. Measured in
# docs/performance.md, with what it costs in memory.
_LAZY_COLLECTOR = {"GOGC": "400"}

# Named here, these are not looked up in the API, where a role that is not made yet would end the program, with
# "configmaps … is forbidden".
_DELEGATED_AUTHENTICATION = (
    f"--client-ca-file={PKI}/ca.crt",
    f"--requestheader-client-ca-file={PKI}/front-proxy-ca.crt",
)


def api_names(spec: LabSpec) -> list[str]:
    """Names and addresses under which the API server is called."""
    return [
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        f"kubernetes.default.svc.{spec.services.domain}",
        "localhost",
        "127.0.0.1",
        *(str(spec.services.api_address(family)) for family in spec.families),
        spec.node_names[0],
        *map(str, spec.all_addresses(spec.node_names[0])),
    ]


def machines(spec: LabSpec, pki: ClusterPki, facts: MachineFacts, *, kube_proxy: bool = True) -> list[Machine]:
    """Plan every node of the cluster; the first runs the control plane.

    Args:
        spec: The lab.
        pki: Its certificates.
        facts: What the machine allows.
        kube_proxy: Nodes run kube-proxy; not where the pod network does its work.
    """
    return [_machine(spec, pki, facts, name, kube_proxy=kube_proxy) for name in spec.node_names]


def _machine(spec: LabSpec, pki: ClusterPki, facts: MachineFacts, name: str, *, kube_proxy: bool) -> Machine:
    first = name == spec.node_names[0]
    server = f"https://{endpoint(spec.node_address(spec.node_names[0]), API_PORT)}"
    files = {
        "/etc/containerd/config.toml": File(containerd_config(facts)),
        "/etc/kubernetes/kubelet.yaml": File(kubelet_config(spec, facts)),
        "/etc/kubernetes/kubelet.conf": _secret(kubeconfig(server, pki.ca.cert, "kubelet", pki.nodes[name])),
        "/etc/kubernetes/proxy.conf": _secret(kubeconfig(server, pki.ca.cert, "kube-proxy", pki.proxy)),
        f"{PKI}/ca.crt": File(pki.ca.cert),
        **_pair("kubelet", pki.nodes[name]),
    }
    if facts.container_spec:
        files[CONTAINER_SPEC] = File(facts.container_spec)
    if not kube_proxy:
        files[STOPPED.format("kube-proxy")] = File("the pod network does its work\n")
    services = node_services(spec, name)
    if first:
        files |= control_plane_files(pki, server)
        services += control_plane_services(spec)
    return Machine(
        name=name,
        files=files,
        services=tuple(map(_patient, services)) if facts.emulated else tuple(services),
        sysctls={
            **sysctls.NETWORK,
            **sysctls.FORWARDING,
            "?net/bridge/bridge-nf-call-iptables": "1",
            "?net/bridge/bridge-nf-call-ip6tables": "1",
            # A socket whose process was killed and whose peer is gone tries for minutes to say goodbye, and keeps
            # the node's network namespace with all its links and eBPF programs for as long.
            "net/ipv4/tcp_orphan_retries": "1",
        },
    )


def _patient(service: Service) -> Service:
    """A service that waits for an API server that is ready, where it would wait for one that listens."""
    listens = re.compile(rf"tcp:(.*):{API_PORT}")
    waits = (api_ready(match[1]) if (match := listens.fullmatch(one)) else one for one in service.wait)
    return replace(service, wait=tuple(waits))


def _secret(content: str) -> File:
    return File(content, mode=0o600)


def _pair(name: str, pair: Pair) -> dict[str, File]:
    return {f"{PKI}/{name}.crt": File(pair.cert), f"{PKI}/{name}.key": _secret(pair.key)}


def control_plane_files(pki: ClusterPki, server: str) -> dict[str, File]:
    """Certificates, keys and kubeconfigs of the control plane's node."""
    return {
        f"{PKI}/ca.key": _secret(pki.ca.key),
        f"{PKI}/etcd-ca.crt": File(pki.etcd_ca),
        f"{PKI}/front-proxy-ca.crt": File(pki.front_proxy_ca),
        f"{PKI}/sa.pub": File(pki.service_accounts.cert),
        f"{PKI}/sa.key": _secret(pki.service_accounts.key),
        **_pair("etcd", pki.etcd_server),
        **_pair("apiserver-etcd-client", pki.etcd_client),
        **_pair("front-proxy-client", pki.front_proxy_client),
        **_pair("apiserver", pki.api_server),
        **_pair("apiserver-kubelet-client", pki.kubelet_client),
        **_pair("controller-manager", pki.controller_manager),
        **_pair("scheduler", pki.scheduler),
        "/etc/kubernetes/admin.conf": _secret(kubeconfig(server, pki.ca.cert, "kubernetes-admin", pki.admin)),
        "/etc/kubernetes/controller-manager.conf": _secret(
            kubeconfig(server, pki.ca.cert, "system:kube-controller-manager", pki.controller_manager)
        ),
        "/etc/kubernetes/scheduler.conf": _secret(
            kubeconfig(server, pki.ca.cert, "system:kube-scheduler", pki.scheduler)
        ),
    }


def api_ready(host: object) -> str:
    """The condition of a service that asks the API server for things which only its start-up allows."""
    return f"https://{endpoint(str(host), API_PORT)}/readyz"


def control_plane_services(spec: LabSpec) -> list[Service]:
    """etcd, API server, controller-manager and scheduler.

    The last two start when the API server is ready, not when it listens. What the scheduler asks for before the roles
    are made is forbidden, and its reflectors come back after growing pauses; the controller-manager would wait by
    itself, but it looks only once a second.
    """
    return [
        Service("etcd", etcd_argv()),
        Service("kube-apiserver", api_server_argv(spec), wait=("tcp:127.0.0.1:2379",), env=_LAZY_COLLECTOR),
        Service(
            "kube-controller-manager",
            controller_manager_argv(spec),
            wait=(api_ready("127.0.0.1"),),
            env=_LAZY_COLLECTOR,
        ),
        Service("kube-scheduler", scheduler_argv(), wait=(api_ready("127.0.0.1"),), env=_LAZY_COLLECTOR),
    ]


def node_services(spec: LabSpec, name: str) -> list[Service]:
    """containerd, kubelet and kube-proxy, which does not start as long as the file `STOPPED` is there.

    kubelet retries its registration at growing intervals, up to seven seconds: it starts when the API server listens,
    not before, and so registers with its first or second try. kube-proxy starts when it may read what it needs.
    """
    server = spec.node_address(spec.node_names[0])
    proxy_may_run = (f"absent:{STOPPED.format('kube-proxy')}", api_ready(server))
    return [
        Service("containerd", ("containerd", "--config", "/etc/containerd/config.toml")),
        Service(
            "kubelet",
            (
                "kubelet",
                "--config=/etc/kubernetes/kubelet.yaml",
                "--kubeconfig=/etc/kubernetes/kubelet.conf",
                f"--hostname-override={name}",
                f"--node-ip={_listed(spec.all_addresses(name))}",
            ),
            wait=(f"unix:{CONTAINERD_SOCKET}", f"tcp:{endpoint(server, API_PORT)}"),
            env=_LAZY_COLLECTOR,
        ),
        Service("kube-proxy", proxy_argv(spec, name), wait=proxy_may_run, env=_LAZY_COLLECTOR),
    ]


def etcd_argv() -> tuple[str, ...]:
    """Etcd on loopback, with TLS both ways; no fsync, since a lab's data need not survive a power cut."""
    return (
        "etcd",
        "--name=cnilab",
        "--data-dir=/var/lib/etcd",
        "--unsafe-no-fsync",
        # The only member elects itself, but only after a random part of its patience with others, by default a second.
        "--heartbeat-interval=20",
        "--election-timeout=200",
        "--listen-client-urls=https://127.0.0.1:2379",
        "--advertise-client-urls=https://127.0.0.1:2379",
        "--listen-metrics-urls=http://127.0.0.1:2381",
        "--client-cert-auth",
        f"--trusted-ca-file={PKI}/etcd-ca.crt",
        f"--cert-file={PKI}/etcd.crt",
        f"--key-file={PKI}/etcd.key",
    )


def api_server_argv(spec: LabSpec) -> tuple[str, ...]:
    """Flags of kube-apiserver: TLS everywhere, Node and RBAC authorization, no static tokens."""
    return (
        "kube-apiserver",
        f"--advertise-address={spec.node_address(spec.node_names[0])}",
        f"--secure-port={API_PORT}",
        f"--service-cluster-ip-range={_listed(spec.service_cidrs)}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        "--anonymous-auth=true",
        "--profiling=false",
        f"--client-ca-file={PKI}/ca.crt",
        f"--tls-cert-file={PKI}/apiserver.crt",
        f"--tls-private-key-file={PKI}/apiserver.key",
        "--etcd-servers=https://127.0.0.1:2379",
        f"--etcd-cafile={PKI}/etcd-ca.crt",
        f"--etcd-certfile={PKI}/apiserver-etcd-client.crt",
        f"--etcd-keyfile={PKI}/apiserver-etcd-client.key",
        f"--kubelet-certificate-authority={PKI}/ca.crt",
        f"--kubelet-client-certificate={PKI}/apiserver-kubelet-client.crt",
        f"--kubelet-client-key={PKI}/apiserver-kubelet-client.key",
        "--kubelet-preferred-address-types=InternalIP",
        f"--service-account-issuer=https://kubernetes.default.svc.{spec.services.domain}",
        f"--service-account-key-file={PKI}/sa.pub",
        f"--service-account-signing-key-file={PKI}/sa.key",
        f"--requestheader-client-ca-file={PKI}/front-proxy-ca.crt",
        "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-username-headers=X-Remote-User",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        f"--proxy-client-cert-file={PKI}/front-proxy-client.crt",
        f"--proxy-client-key-file={PKI}/front-proxy-client.key",
    )


def _serving(name: str) -> tuple[str, ...]:
    """The certificate that a program shows; without one it makes an RSA key first, while all others wait for it."""
    return (f"--tls-cert-file={PKI}/{name}.crt", f"--tls-private-key-file={PKI}/{name}.key")


def controller_manager_argv(spec: LabSpec) -> tuple[str, ...]:
    """Flags of kube-controller-manager; it hands out each node's podCIDR."""
    return (
        "kube-controller-manager",
        "--kubeconfig=/etc/kubernetes/controller-manager.conf",
        "--authentication-kubeconfig=/etc/kubernetes/controller-manager.conf",
        "--authorization-kubeconfig=/etc/kubernetes/controller-manager.conf",
        "--bind-address=127.0.0.1",
        *_serving("controller-manager"),
        "--leader-elect=false",
        "--use-service-account-credentials=true",
        "--allocate-node-cidrs=true",
        f"--cluster-cidr={_listed(spec.pod_cidrs)}",
        *_node_masks(spec),
        f"--service-cluster-ip-range={_listed(spec.service_cidrs)}",
        f"--root-ca-file={PKI}/ca.crt",
        *_DELEGATED_AUTHENTICATION,
        *(f"--{flag}={value}" for flag, value in CONTROLLER_REQUESTS.items()),
        f"--cluster-signing-cert-file={PKI}/ca.crt",
        f"--cluster-signing-key-file={PKI}/ca.key",
        f"--service-account-private-key-file={PKI}/sa.key",
    )


def _node_masks(spec: LabSpec) -> list[str]:
    """How long the prefix of a node's share is: with two families, the flag without a family is refused."""
    if len(spec.families) == 1:
        return [f"--node-cidr-mask-size={spec.pods.mask(spec.primary)}"]
    return [f"--node-cidr-mask-size-{family}={spec.pods.mask(family)}" for family in spec.families]


def _listed(values: Iterable[object]) -> str:
    """As flags have what there is one of for each family: separated by commas, the primary family first."""
    return ",".join(map(str, values))


def scheduler_argv() -> tuple[str, ...]:
    """Flags of kube-scheduler."""
    return (
        "kube-scheduler",
        "--kubeconfig=/etc/kubernetes/scheduler.conf",
        "--authentication-kubeconfig=/etc/kubernetes/scheduler.conf",
        "--authorization-kubeconfig=/etc/kubernetes/scheduler.conf",
        "--bind-address=127.0.0.1",
        *_serving("scheduler"),
        "--leader-elect=false",
        *_DELEGATED_AUTHENTICATION,
    )


def proxy_argv(spec: LabSpec, name: str) -> tuple[str, ...]:
    """Flags of kube-proxy.

    Flags, not a file: kube-proxy watches a configuration file with an inotify instance, of which a machine has 128 by
    default for all nodes together. Conntrack limits belong to the machine, not to a node: 0 leaves them alone.
    """
    mode = spec.kubernetes.proxy_mode
    return (
        "kube-proxy",
        "--kubeconfig=/etc/kubernetes/proxy.conf",
        f"--hostname-override={name}",
        f"--proxy-mode={mode}",
        f"--cluster-cidr={_listed(spec.pod_cidrs)}",
        # There is no such flag for nftables, only a key of the file; its default is a second.
        *((f"--{mode}-min-sync-period=100ms",) if mode != "nftables" else ()),
        "--conntrack-max-per-core=0",
        "--conntrack-min=0",
        "--conntrack-tcp-timeout-established=0s",
        "--conntrack-tcp-timeout-close-wait=0s",
    )
