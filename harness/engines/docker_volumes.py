"""The content of a testbed's volumes as a Docker image, which is copied into volumes without starting a container.

The image has no programs. It has a folder for each volume. When Docker creates a container in which an empty volume
is mounted over a folder of its image, it copies the folder into the volume: so one container, which never runs, fills
all volumes at the same time, and another one provides all of them as one archive.
"""

import base64
import binascii
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import BinaryIO

import docker
import requests
from docker.errors import APIError, ImageNotFound
from docker.models.containers import Container
from docker.models.images import Image

from harness.engines import snapshot_file
from harness.engines.base import EngineError, SavedVolumes, VolumeStore
from harness.engines.docker_client import PROJECT_LABEL, SERVICE_LABEL, client
from harness.engines.snapshot_file import volume_names

VOLUME_LABEL = "com.docker.compose.volume"
REPOSITORY = "lightning-testbed/snapshot"
"""The images' name; their tag is the name of the saved volumes."""
FACTS_LABEL, VOLUMES_LABEL = "lightning-testbed.snapshot.facts", "lightning-testbed.snapshot.volumes"
"""Both in Base64, because quotes and dollars in labels are special to Docker."""
FOLDER = "/volumes"
IDLE = "never-run"
"""The service label of containers that are created only for their mounts."""


def save(engine: docker.DockerClient, project: str, name: str, facts: str) -> None:
    """Make the image with this name from the volumes of a project. Raises EngineError, APIError."""
    volumes = {
        str(volume.attrs["Labels"][VOLUME_LABEL]): str(volume.name)
        for volume in engine.volumes.list(filters={"label": f"{PROJECT_LABEL}={project}"})
    }
    others = engine.containers.list(all=True, filters={"label": f"{PROJECT_LABEL}={project}"}, ignore_removed=True)
    if not others:
        raise EngineError(f"testbed {project} has no containers; is it up?")
    with _mounted(engine, project, str(others[0].attrs["Image"]), volumes) as container:
        archive, _ = container.get_archive(FOLDER)
        _make_image(engine, name, archive, facts, sorted(volumes))


def _make_image(
    engine: docker.DockerClient, name: str, archive: Iterable[bytes], facts: str, volumes: Sequence[str]
) -> None:
    """archive: a tar archive with the folder FOLDER in pieces. Raises EngineError, APIError."""
    changes = [_label(FACTS_LABEL, facts), _label(VOLUMES_LABEL, json.dumps(list(volumes)))]
    said = engine.api.import_image_from_stream(iter(archive), REPOSITORY, name, changes)
    for line in filter(None, said.splitlines()):
        if problem := json.loads(line).get("error"):
            raise EngineError(f"snapshot {name} cannot be kept: {problem}")
    # Remove the images whose name a newer one has taken.
    for image in engine.images.list(filters={"label": FACTS_LABEL, "dangling": True}):
        engine.images.remove(str(image.id), force=True)


def fill(engine: docker.DockerClient, project: str, name: str) -> None:
    """Create the volumes of a project that has none yet. Raises EngineError, APIError."""
    image = _image(engine, name)
    fill_from(engine, project, str(image.id), {volume: volume for volume in _volumes(image, name)})


def fill_from(engine: docker.DockerClient, project: str, image: str, folders: Mapping[str, str]) -> None:
    """Create these volumes of a project, each from a subfolder of FOLDER in an image. Raises APIError."""
    volumes = {volume: f"{project}_{volume}" for volume in folders}
    for volume, full_name in volumes.items():
        engine.volumes.create(full_name, labels={PROJECT_LABEL: project, VOLUME_LABEL: volume})
    with _mounted(engine, project, image, {folders[volume]: full_name for volume, full_name in volumes.items()}):
        pass  # creating it is sufficient


def _image(engine: docker.DockerClient, name: str) -> Image:
    try:
        return engine.images.get(f"{REPOSITORY}:{name}")
    except ImageNotFound:
        raise EngineError(f"there is no snapshot {name}") from None


def _volumes(image: Image, name: str) -> list[str]:
    """Return the names of the volumes in an image. Raises EngineError."""
    try:
        return volume_names(json.loads(_text(image, VOLUMES_LABEL)))
    except ValueError as error:
        raise EngineError(f"snapshot {name} is damaged: {error}") from None


@contextmanager
def _mounted(engine: docker.DockerClient, project: str, image: str, volumes: dict[str, str]) -> Iterator[Container]:
    container = engine.containers.create(
        image,
        ["nothing"],
        volumes={volume: {"bind": f"{FOLDER}/{name}", "mode": "rw"} for name, volume in volumes.items()},
        labels={PROJECT_LABEL: project, SERVICE_LABEL: IDLE},
        network_mode="none",
    )
    try:
        yield container
    finally:
        container.remove(v=True, force=True)


def _label(name: str, text: str) -> str:
    return f'LABEL {name}="{base64.b64encode(text.encode()).decode()}"'


def _text(image: Image, label: str) -> str:
    """Return the decoded text of a label. Raises ValueError if it is missing, or not in our format."""
    try:
        return base64.b64decode(image.labels[label], validate=True).decode()
    except (LookupError, TypeError, binascii.Error, UnicodeDecodeError):
        raise ValueError(f"its label {label} cannot be read") from None


def _saved(image: Image, name: str) -> SavedVolumes:
    try:
        facts = _text(image, FACTS_LABEL)
    except ValueError:
        facts = ""
    # Python cannot parse Docker's nanoseconds.
    saved_at = datetime.fromisoformat(re.sub(r"\.\d+", "", str(image.attrs["Created"])).replace("Z", "+00:00"))
    return SavedVolumes(name, facts, int(image.attrs["Size"]), saved_at)


class DockerVolumeStore(VolumeStore):
    """The images of REPOSITORY."""

    def __init__(self) -> None:
        self._engine = client()

    def saved(self) -> list[SavedVolumes]:
        """See VolumeStore.saved."""
        found = []
        with _as_engine_error("the snapshots cannot be listed"):
            for image in self._engine.images.list(REPOSITORY):
                for tag in image.tags:
                    repository, _, name = tag.rpartition(":")
                    if repository == REPOSITORY:
                        found.append(_saved(image, name))
        return sorted(found, key=lambda each: each.saved_at)

    def remove(self, name: str) -> None:
        """See VolumeStore.remove."""
        with _as_engine_error(f"snapshot {name} cannot be removed"):
            try:
                self._engine.images.remove(f"{REPOSITORY}:{name}", force=True)
            except ImageNotFound:
                return

    def export(self, name: str, file: BinaryIO) -> None:
        """See VolumeStore.export. A temporary container is needed, because images cannot be read as archives."""
        with _as_engine_error(f"snapshot {name} cannot be exported"):
            image = _image(self._engine, name)
            with _mounted(self._engine, REPOSITORY, str(image.id), {}) as container:
                archive, _ = container.get_archive(FOLDER)
                head = snapshot_file.Head(name=name, facts=_saved(image, name).facts, volumes=_volumes(image, name))
                snapshot_file.write(file, head, archive)

    def load(self, file: BinaryIO, accept: Callable[[str, str], None], most_bytes: int) -> SavedVolumes:
        """See VolumeStore.load."""
        with _as_engine_error("the snapshot cannot be imported"):
            head, archive = snapshot_file.read(file, most_bytes)
            accept(head.name, head.facts)
            _make_image(self._engine, head.name, archive, head.facts, head.volumes)
            return _saved(_image(self._engine, head.name), head.name)


@contextmanager
def _as_engine_error(what: str) -> Iterator[None]:
    try:
        yield
    except APIError as error:
        raise EngineError(f"{what}: {error.explanation}") from None
    except requests.RequestException as error:
        raise EngineError(f"{what}: {error}") from None
