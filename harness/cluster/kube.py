"""The way to a cluster's API: few verbs, and objects as the plain dictionaries that users write."""

from __future__ import annotations

import json
import threading
import urllib.parse
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import urllib3

from harness import timeouts
from harness.cluster.access import Access
from harness.cluster.refusals import ApiError, refused, unanswered
from harness.cluster.transport import Transport, reach, transport
from harness.errors import BringUpError

__all__ = ["ApiError", "Kube", "Object", "Objects"]

T = TypeVar("T")
Object = dict[str, Any]
Objects = list[Object]
Resource = tuple[str, bool]
"""Name of a kind's collection, and whether its objects live in namespaces."""

FIELD_MANAGER = "cnilab"

# Kinds that the project uses, with their resource names and whether they live in a namespace. They need no discovery,
# which costs a request for each group; see `Kube.resource` for all others.
_RESOURCES: dict[str, Resource] = {
    "ClusterRole": ("clusterroles", False),
    "ClusterRoleBinding": ("clusterrolebindings", False),
    "ConfigMap": ("configmaps", True),
    "CustomResourceDefinition": ("customresourcedefinitions", False),
    "DaemonSet": ("daemonsets", True),
    "Deployment": ("deployments", True),
    "EndpointSlice": ("endpointslices", True),
    "Endpoints": ("endpoints", True),
    "Event": ("events", True),
    "Job": ("jobs", True),
    "Lease": ("leases", True),
    "Namespace": ("namespaces", False),
    "NetworkPolicy": ("networkpolicies", True),
    "Node": ("nodes", False),
    "Pod": ("pods", True),
    "ReplicaSet": ("replicasets", True),
    "Role": ("roles", True),
    "RoleBinding": ("rolebindings", True),
    "Secret": ("secrets", True),
    "SelfSubjectAccessReview": ("selfsubjectaccessreviews", False),
    "Service": ("services", True),
    "ServiceAccount": ("serviceaccounts", True),
    "StatefulSet": ("statefulsets", True),
}
# What others need goes first.
_FIRST = ("Namespace", "CustomResourceDefinition", "ServiceAccount", "ClusterRole", "ConfigMap", "Secret")


def _path(api_version: str, known: Resource, namespace: str, name: str) -> str:
    resource, namespaced = known
    parts = ["/api" if api_version == "v1" else "/apis", api_version]
    if namespaced and namespace:
        parts += ["namespaces", urllib.parse.quote(namespace, safe="")]
    parts.append(resource)
    if name:
        parts.append(urllib.parse.quote(name, safe=""))
    return "/".join(parts)


class Kube:
    """A cluster's API.

    Args:
        kubeconfig: File with address and credentials; read at the first call.
        access: What is in it, where somebody read it already.
        interval: Seconds between two looks while it waits. Our own API server may be asked often.
    """

    def __init__(self, kubeconfig: Path, *, access: Access | None = None, interval: float = 0.05) -> None:
        self.kubeconfig = kubeconfig
        self.requests = 0
        """How many were sent so far."""
        self._access = access
        self._interval = interval
        self._lock = threading.Lock()
        self._transport: Transport | None = None
        self._discovered: dict[tuple[str, str], Resource] = {}

    def _way(self) -> Transport:
        with self._lock:
            if self._transport is None:
                self._transport = reach(self._access) if self._access else transport(self.kubeconfig)
            return self._transport

    def raw(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: dict[str, str] | None = None,
        content_type: str = "application/json",
        timeout: float = timeouts.COMMAND,
    ) -> Any:
        """Send one request.

        Args:
            method: HTTP method.
            path: URL path.
            body: Sent as JSON.
            query: Query parameters.
            content_type: Of the body; patches have their own.
            timeout: Seconds.

        Returns:
            The decoded answer.

        Raises:
            ApiError: Any status of 400 or more, or no answer (status 0).
        """
        way = self._way()
        with self._lock:
            self.requests += 1
        url = way.server + path
        if query:
            url += "?" + urllib.parse.urlencode(query)
        headers = {"Accept": "application/json", "Content-Type": content_type, **way.headers}
        request = f"{method} {path.partition('?')[0]}"
        try:
            answer = way.pool.request(
                method,
                url,
                body=None if body is None else json.dumps(body),
                headers=headers,
                timeout=urllib3.Timeout(connect=timeouts.stretched(timeouts.CONNECT), read=timeouts.stretched(timeout)),
                retries=False,
            )
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise unanswered(request, way.server, error) from error
        if answer.status >= 400:
            raise refused(request, way.server, answer.status, answer.data)
        # What it is called, and not what it begins with: many programs log in JSON.
        spoken = answer.headers.get("Content-Type", "").partition(";")[0].strip()
        return json.loads(answer.data) if spoken == "application/json" else answer.data.decode(errors="replace")

    def resource(self, api_version: str, kind: str) -> Resource:
        """What a kind's collection is called: known, or asked of the API server, once for each version of a group.

        Args:
            api_version: As in a manifest.
            kind: As in a manifest.

        Raises:
            BringUpError: The API server has no such kind: its definition may not be there yet.
        """
        if kind in _RESOURCES:
            return _RESOURCES[kind]
        if (api_version, kind) not in self._discovered:
            try:
                listed = self.raw("GET", f"{'/api' if api_version == 'v1' else '/apis'}/{api_version}")["resources"]
            except ApiError as error:
                if error.status != 404:
                    raise
                listed = []
            # A subresource has a slash in its name, and sometimes the kind of what it is a part of.
            found = {
                (api_version, one["kind"]): (one["name"], one["namespaced"]) for one in listed if "/" not in one["name"]
            }
            if (api_version, kind) not in found:
                msg = f"the API server has no kind {kind} in {api_version}"
                raise BringUpError(msg, where=self._way().server, next_step="kubectl api-resources lists what it has")
            self._discovered |= found
        return self._discovered[api_version, kind]

    def path(self, api_version: str, kind: str, namespace: str = "", name: str = "") -> str:
        """The URL path of an object of any kind, or of a collection when there is no name."""
        return _path(api_version, self.resource(api_version, kind), namespace, name)

    def path_of(self, item: Object) -> str:
        """The URL path of an object of any kind; objects of a namespace default to `default`."""
        metadata = item["metadata"]
        return self.path(item["apiVersion"], item["kind"], metadata.get("namespace") or "default", metadata["name"])

    def apply(self, objects: Iterable[Object]) -> list[Object]:
        """Server-side apply (KEP-555); namespaces and the like first, all others at the same time."""
        items = list(objects)
        first = [item for item in items if item["kind"] in _FIRST]
        first.sort(key=lambda item: _FIRST.index(item["kind"]))
        rest = [item for item in items if item["kind"] not in _FIRST]
        namespaces = [item for item in first if item["kind"] == "Namespace"]
        others = [item for item in first if item["kind"] != "Namespace"]
        applied: list[Object] = []
        for group in (namespaces, others, rest):
            if group:
                with ThreadPoolExecutor(max_workers=8) as pool:
                    applied += list(pool.map(self._apply_one, group))
        return applied

    def _apply_one(self, item: Object) -> Object:
        answer: Object = self.raw(
            "PATCH",
            self.path_of(item),
            item,
            query={"fieldManager": FIELD_MANAGER, "force": "true"},
            content_type="application/apply-patch+yaml",
        )
        return answer

    def get(self, api_version: str, kind: str, name: str, namespace: str = "") -> Object | None:
        """One object, None if there is none."""
        try:
            answer: Object = self.raw("GET", self.path(api_version, kind, namespace, name))
        except ApiError as error:
            if error.status == 404:
                return None
            raise
        return answer

    def list(self, api_version: str, kind: str, namespace: str = "", labels: str = "", fields: str = "") -> Objects:
        """Objects of a kind; of all namespaces when none is given. Selectors as in kubectl."""
        query = {"labelSelector": labels, "fieldSelector": fields}
        path = self.path(api_version, kind, namespace)
        answer = self.raw("GET", path, query={key: value for key, value in query.items() if value})
        # Items of a list lack these two; whoever gets an object can rely on them.
        return [{"apiVersion": api_version, "kind": kind, **item} for item in answer["items"]]

    def patch(
        self, api_version: str, kind: str, name: str, body: Any, *, namespace: str = "", merge: bool = True
    ) -> Object:
        """Change an object: a JSON merge patch (RFC 7396), or a JSON patch (RFC 6902) when `merge` is false."""
        kind_of_patch = "application/merge-patch+json" if merge else "application/json-patch+json"
        path = self.path(api_version, kind, namespace, name)
        answer: Object = self.raw("PATCH", path, body, content_type=kind_of_patch)
        return answer

    def delete(self, objects: Sequence[Object], *, wait: bool = True, grace: int = 0) -> None:
        """Delete objects that may be there.

        Args:
            objects: Their manifests.
            wait: Wait until they are gone.
            grace: Seconds that pods get to end by themselves.
        """
        body = {"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": grace}
        body["propagationPolicy"] = "Foreground"
        for item in objects:
            try:
                self.raw("DELETE", self.path_of(item), body)
            except ApiError as error:
                if error.status != 404:
                    raise
        if not wait:
            return
        for item in objects:
            self._wait_gone(item)

    def _wait_gone(self, item: Object) -> None:
        metadata = item["metadata"]
        namespace = metadata.get("namespace") or "default"
        timeouts.wait_until(
            f"{item['kind']} {metadata['name']} to be gone",
            lambda: self.get(item["apiVersion"], item["kind"], metadata["name"], namespace) is None,
            timeouts.ROLLOUT,
            interval=self._interval,
        )

    def wait(  # noqa: PLR0913 - selectors are optional, and clearer as arguments than as an object
        self,
        what: str,
        api_version: str,
        kind: str,
        done: Callable[[Objects], T | None],
        *,
        namespace: str = "",
        labels: str = "",
        fields: str = "",
        deadline: float = timeouts.ROLLOUT,
    ) -> T:
        """List until `done` says something other than None or False.

        Polling, at intervals that start at 50 ms: on a lab's own API server a list costs about 2 ms, and unlike a
        watch it cannot miss a change.

        Args:
            what: What is waited for, for the error.
            api_version: As in a manifest.
            kind: As in a manifest.
            done: Sees all matching objects.
            namespace: Empty for all.
            labels: Selector.
            fields: Selector.
            deadline: Seconds, before scaling.

        Raises:
            BringUpError: The deadline passed.
        """

        def probe() -> T | None:
            return done(self.list(api_version, kind, namespace, labels, fields))

        return timeouts.wait_until(what, probe, deadline, interval=self._interval)

    def logs(self, namespace: str, pod: str, container: str = "", lines: int = 200, *, previous: bool = False) -> str:
        """The end of a container's log; with `previous`, of the one that ended before."""
        query = {"tailLines": str(lines), **({"container": container} if container else {})}
        query |= {"previous": "true"} if previous else {}
        path = self.path("v1", "Pod", namespace, pod) + "/log"
        answer: str = self.raw("GET", path, query=query)
        return answer
