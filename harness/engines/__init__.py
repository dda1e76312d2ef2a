"""The engines that run a testbed's containers: one interface (base.py), one file for each engine."""

from pathlib import Path

from harness.engines.base import Engine, VolumeStore


def open_engine(project: str, compose_file: Path, sockets: Path) -> Engine:
    """Return the engine of this machine, for one testbed, without querying it.

    sockets: the folder with a subfolder for each service's Unix sockets.
    """
    from harness.engines.docker import DockerEngine  # imported only when needed: the Docker SDK takes long to import

    return DockerEngine(project, compose_file, sockets)


def open_volume_store() -> VolumeStore:
    """Return the saved volumes of testbeds on this machine's engine."""
    from harness.engines.docker_volumes import DockerVolumeStore

    return DockerVolumeStore()
