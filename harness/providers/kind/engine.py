"""The Docker engine that `DOCKER_HOST` or the current context names: what is asked of it, and what its answers mean."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import docker
from docker.errors import APIError, DockerException, ImageNotFound, NotFound

from harness import timeouts
from harness.errors import PreflightError
from harness.model.family import VERSION, Range
from harness.providers.kind.answers import (
    GATEWAY,
    MTU,
    Container,
    DockerNetwork,
    EngineError,
    EngineFacts,
    container_of,
    for_nodes,
    free_range,
    network_of,
    subnets_of,
)
from harness.runner import CommandError


class Engine:
    """A Docker engine.

    Args:
        host: Its address, as in DOCKER_HOST; by default that, or the current context's.

    Raises:
        PreflightError: There is none, or it does not let us in.
    """

    def __init__(self, host: str = "") -> None:
        patience = int(timeouts.stretched(timeouts.BUILD))
        socket = Path((host or default_host()).removeprefix("unix://"))
        if socket.is_absolute() and not socket.exists():
            absent = f"there is no {socket}"
            raise no_engine(absent, host)
        try:
            self._client = (
                docker.DockerClient(base_url=host, timeout=patience) if host else docker.from_env(timeout=patience)
            )
        except DockerException as error:
            raise no_engine(str(error), host) from error
        try:
            self._client.ping()
        except (DockerException, OSError) as error:
            self._client.close()
            raise no_engine(str(error), host) from error

    def facts(self) -> EngineFacts:
        """What the engine says of itself."""
        version, info = self._client.version(), self._client.info()
        names = [part.get("Name", "") for part in version.get("Components", ())]
        return EngineFacts(
            version=str(version.get("Version", "0")),
            api=str(version.get("ApiVersion", "0")),
            cgroups=str(info.get("CgroupVersion", "1")),
            cgroup_driver=str(info.get("CgroupDriver", "")),
            rootless=any("rootless" in option for option in info.get("SecurityOptions") or ()),
            podman=any("Podman" in name for name in names),
        )

    # --- images -------------------------------------------------------------------------------------------------------

    def has_image(self, reference: str) -> bool:
        """Whether the engine has an image."""
        with self._refusals(f"the engine did not answer whether it has {reference}"):
            try:
                self._client.images.get(reference)
            except ImageNotFound:
                return False
        return True

    def images(self, repository: str) -> list[str]:
        """Full names of all images of a repository, newest first."""
        with self._refusals("the engine did not list its images"):
            found = self._client.images.list(name=repository)
        found.sort(key=lambda image: image.attrs.get("Created", ""), reverse=True)
        return [tag for image in found for tag in image.tags if tag.startswith(f"{repository}:")]

    def import_tree(self, archive: IO[bytes], reference: str, changes: Iterable[str]) -> None:
        """Make an image of one layer.

        Args:
            archive: The root directory as a tar archive.
            reference: The image's name.
            changes: Instructions of a Dockerfile that say the rest.

        Raises:
            EngineError: The engine could not take it.
        """
        repository, _, tag = reference.rpartition(":")
        with self._refusals(f"image {reference} could not be made"):
            answer = self._client.api.import_image_from_stream(
                archive, repository=repository, tag=tag, changes=list(changes)
            )
            last = json.loads(answer.strip().splitlines()[-1])
        if "error" in last:
            msg = f"image {reference} could not be made"
            raise EngineError(msg, cause=str(last["error"]))
        if self.has_image(f"{repository}:latest"):
            self._name(f"{repository}:latest", reference)

    def _name(self, wrong: str, reference: str) -> None:
        """Give an image the name that it was to have: Podman's API takes no tag with an archive."""
        repository, _, tag = reference.rpartition(":")
        with self._refusals(f"image {reference} could not be named"):
            self._client.images.get(wrong).tag(repository, tag)
            self._client.images.remove(wrong)

    def entry_point(self, reference: str) -> list[str]:
        """What an image starts with; empty where it does not say."""
        with self._refusals(f"the engine did not show the entry point of {reference}"):
            config = self._client.images.get(reference).attrs.get("Config") or {}
        found = config.get("Entrypoint") or []
        return [found] if isinstance(found, str) else list(found)

    def derive(
        self, image: str, reference: str, labels: Mapping[str, str], files: Mapping[str, Path], change: str
    ) -> None:
        """Make an image of another one, with some programs more.

        Args:
            image: The other one.
            reference: The new one's name.
            labels: To find it again, and the container that it is made of, which is gone afterwards.
            files: As of `put`.
            change: Instruction of a Dockerfile that says the rest.

        Raises:
            EngineError: The engine could not make it.
        """
        repository, _, tag = reference.rpartition(":")
        with self._refusals(f"image {reference} could not be made"):
            made = self._client.containers.create(image, labels=dict(labels))
            try:
                self.put(str(made.id), "/", files)
                made.commit(repository, tag, changes=[change])
            finally:
                made.remove(force=True, v=True)

    def derived(self, labels: Mapping[str, str]) -> list[str]:
        """Ids of the images with these labels."""
        wanted = [f"{key}={value}" for key, value in labels.items()]
        with self._refusals("the engine did not list its images"):
            return [str(one.id) for one in self._client.images.list(filters={"label": wanted})]

    def remove_image(self, image: str) -> None:
        """Remove an image that may be there, and nothing that it is made of."""
        with self._refusals(f"image {image} could not be removed"), contextlib.suppress(ImageNotFound):
            self._client.images.remove(image, force=True, noprune=True)

    def pull(self, reference: str) -> None:
        """Get an image from its registry.

        Raises:
            EngineError: It is not available.
        """
        with self._refusals(f"image {reference} is not available"):
            self._client.images.pull(reference)

    # --- networks -----------------------------------------------------------------------------------------------------

    def default_mtu(self) -> int:
        """MTU of the engine's default network: whoever set it knows what the machine's way out carries."""
        with contextlib.suppress(DockerException):
            options = self._client.networks.get("bridge").attrs.get("Options") or {}
            return int(options.get(MTU, 1500))
        return 1500

    def make_network(self, name: str, labels: Mapping[str, str], mtu: int, subnets: Sequence[Range]) -> DockerNetwork:
        """Make a bridge network, whose first address is left to the lab's router.

        Args:
            name: Of the network.
            labels: To find it again.
            mtu: Bytes.
            subnets: Its addresses, a range of each family.

        Raises:
            EngineError: The engine cannot make it.
        """
        with self._refusals(f"network {name} could not be made"):
            made = self._client.networks.create(
                name,
                driver="bridge",
                options={MTU: str(mtu)},
                ipam=docker.types.IPAMConfig(pool_configs=[_pool(one) for one in subnets]),
                labels=dict(labels),
                check_duplicate=True,
                enable_ipv6=any(one.version == VERSION["ipv6"] for one in subnets),
            )
            made.reload()
            return network_of(made.attrs)

    def free(self, wanted: Range) -> Range:
        """Addresses that no network of the engine has: these, or others of their family."""
        with self._refusals("the engine did not list its networks"):
            networks = self._client.networks.list()
        return free_range(wanted, [one for network in networks for one in subnets_of(network.attrs)])

    def networks(self, labels: Mapping[str, str]) -> list[DockerNetwork]:
        """Networks with these labels."""
        wanted = [f"{key}={value}" for key, value in labels.items()]
        with self._refusals("the engine did not list its networks"):
            return [network_of(one.attrs) for one in self._client.networks.list(filters={"label": wanted})]

    def remove_network(self, network: DockerNetwork) -> None:
        """Remove a network that may be there; a stopped container's end does not hold it."""
        with self._refusals(f"network {network.name} could not be removed"), contextlib.suppress(NotFound):
            self._client.networks.get(network.id).remove()

    # --- containers ---------------------------------------------------------------------------------------------------

    def containers(self, labels: Mapping[str, str]) -> list[Container]:
        """Containers with these labels, running or not."""
        return [container_of(one) for one in self._listed(labels)]

    def on_network(self, network: str, labels: Mapping[str, str]) -> list[Container]:
        """Containers with these labels that are on a network, or were when they ran."""
        mine = [one for one in self._listed(labels) if network in one["NetworkSettings"]["Networks"]]
        return [container_of(one, network) for one in mine]

    def _listed(self, labels: Mapping[str, str]) -> list[dict[str, Any]]:
        wanted = [f"{key}={value}" for key, value in labels.items()]
        with self._refusals("the engine did not list its containers"):
            found = self._client.containers.list(all=True, filters={"label": wanted}, ignore_removed=True)
        return [one.attrs for one in found]

    def make(self, name: str, image: str, network: DockerNetwork, number: int, **more: Any) -> str:
        """Make a container with fixed addresses, and do not start it yet.

        Args:
            name: Its name.
            image: Full name.
            network: The network that it is on.
            number: Its addresses there, counted from the network's.
            **more: As of the SDK's `containers.create`.

        Returns:
            Its id.

        Raises:
            EngineError: The engine refused it.
        """
        with self._refusals(f"container {name} could not be made"):
            endpoint = self._client.api.create_endpoint_config(
                ipv4_address=str(network.subnet[number]),
                ipv6_address=str(network.subnet6[number]) if network.subnet6 else None,
            )
            made = self._client.containers.create(
                image, name=name, network=network.name, networking_config={network.name: endpoint}, **more
            )
            return str(made.id)

    def start(self, container: str) -> None:
        """Start a container that was made."""
        with self._refusals("a container did not start"):
            self._client.containers.get(container).start()

    def inspect(self, container: str, network: str = "") -> Container:
        """What is known of a container."""
        with self._refusals(f"container {container} is gone"):
            return container_of(self._client.containers.get(container).attrs, network)

    def remove(self, container: Container) -> None:
        """Remove a container that may be there, with its volumes, whatever it is doing."""
        with self._refusals(f"container {container.name} could not be removed"), contextlib.suppress(NotFound):
            self._client.containers.get(container.id).remove(force=True, v=True)

    def logs(self, container: str, lines: int = 5000) -> str:
        """The end of what a container printed."""
        with self._refusals(f"no log of container {container}"):
            text: bytes = self._client.containers.get(container).logs(tail=lines)
        return text.decode(errors="replace")

    def put(self, container: str, folder: str, files: Mapping[str, Path]) -> None:
        """Copy programs into a container.

        Args:
            container: Running or not.
            folder: Where to; exists there.
            files: Path below it, to the file on this machine.

        Raises:
            EngineError: The engine refused.
        """
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            for name, path in files.items():
                info = tar.gettarinfo(str(path.resolve()), name)
                info.uid = info.gid = 0
                info.uname = info.gname = "root"
                info.mode = 0o755
                with path.open("rb") as file:
                    tar.addfile(info, file)
        with self._refusals(f"files could not be copied into container {container}"):
            self._client.containers.get(container).put_archive(folder, buffer.getvalue())

    def read(self, container: str, path: str) -> str:
        """A file of a container.

        Raises:
            CommandError: There is none.
        """
        try:
            stream, _ = self._client.containers.get(container).get_archive(path)
            with tarfile.open(fileobj=io.BytesIO(b"".join(stream))) as tar:
                file = tar.extractfile(tar.getmembers()[0])
                return file.read().decode(errors="replace") if file else ""
        except DockerException as error:
            msg = f"cannot read {path} of {container}"
            raise CommandError(msg, cause=_reason(error)) from error

    @contextlib.contextmanager
    def _refusals(self, what: str) -> Iterator[None]:
        try:
            yield
        except (DockerException, OSError) as error:  # the latter of the connection: requests' errors are such
            raise EngineError(what, cause=_reason(error)) from error


def _pool(subnet: Range) -> docker.types.IPAMPool:
    """What a network gives its containers of a range of addresses."""
    nodes = for_nodes(subnet)
    return docker.types.IPAMPool(
        subnet=str(subnet),
        gateway=str(subnet[GATEWAY]),
        iprange=str(nodes),
        # An address that ends in .0 is right here, and looks wrong to everybody.
        aux_addresses={"first": str(nodes[0])},
    )


def _reason(error: Exception) -> str:
    return str(error.explanation or error) if isinstance(error, APIError) else str(error)


def default_host() -> str:
    """The engine's address as far as it can be known without Docker's own context store; empty where that decides."""
    named = os.environ.get("DOCKER_HOST", "")
    if named or os.environ.get("DOCKER_CONTEXT") or (Path.home() / ".docker/config.json").exists():
        return named
    return "unix:///var/run/docker.sock"


def no_engine(reason: str, host: str = "") -> PreflightError:
    """The error for an engine that cannot be reached.

    Args:
        reason: What the SDK said.
        host: Its address, where it is not DOCKER_HOST.
    """
    host = host or os.environ.get("DOCKER_HOST", "")
    denied = "Permission denied" in reason or "PermissionError" in reason
    if denied:
        step = "add yourself to the group 'docker', or run cnilab as root"
    elif host:
        step = "start the engine that DOCKER_HOST names, or set another one"
    elif shutil.which("dockerd"):
        step = "start it: systemctl start docker"
    else:
        step = "install Docker (apt-get install docker.io), or omit --provider: provider namespaces needs no Docker"
    return PreflightError(
        "access to the Docker engine is denied" if denied else "no Docker engine answers",
        cause=reason.splitlines()[0][:300] if reason else "",
        where=host or "unix:///var/run/docker.sock",
        next_step=step,
    )
