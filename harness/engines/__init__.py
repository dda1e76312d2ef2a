"""What runs the containers of a testbed: one interface (base.py), one file for each engine."""

from pathlib import Path

from harness.engines.base import Engine, VolumeStore


def open_engine(project: str, compose_file: Path, sockets: Path) -> Engine:
    """The engine of this machine, for one testbed. Nothing is asked of it yet.

    sockets: the folder in which each service has one for its Unix sockets.
    """
    from harness.engines.docker import DockerEngine  # only when it is used: the Docker SDK takes long to import

    return DockerEngine(project, compose_file, sockets)


def open_volume_store() -> VolumeStore:
    """What the engine of this machine keeps of testbeds' volumes."""
    from harness.engines.docker_volumes import DockerVolumeStore

    return DockerVolumeStore()
