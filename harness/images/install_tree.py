"""Local install trees of nodes, named by LND_PREFIX, CLN_PREFIX, ... or found on PATH.

Only the node's own files are copied, so a prefix with other programs, such as /usr/local, is possible.
The shared libraries are included: a tree built on one distribution runs in an image of another.
"""

import hashlib
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from harness.errors import TestbedError
from harness.images.kinds import TreeFacts, facts, prefix_variable

# The image has its own C library, which cannot be mixed with parts of another one.
_C_LIBRARY = re.compile(r"(ld-linux.*|ld64|lib(c|m|mvec|dl|rt|pthread|resolv|util|anl|nss_\w+|thread_db))\.so\b")
_LDD_LINE = re.compile(r"^\s*(?P<name>\S+) => (?P<path>not found|/\S+)", re.MULTILINE)

_LIBRARIES = Path("opt/install-tree/lib")
_LINKER_CONFIGURATION = Path("etc/ld.so.conf.d/zz-install-tree.conf")


class InstallTreeError(TestbedError):
    """An install tree cannot be used; the message names the tree and what it lacks."""


@dataclass(frozen=True)
class InstallTree:
    """A node's files under one prefix; `named_by` is the origin of the prefix, for messages."""

    kind: str
    prefix: Path
    named_by: str

    @classmethod
    def from_environment(cls, kind: str) -> "InstallTree | None":
        """Return the tree that LND_PREFIX or CLN_PREFIX names. Raises InstallTreeError if it is incomplete."""
        variable = prefix_variable(kind)
        value = os.environ.get(variable)
        if not value or facts(kind).install_tree is None:
            return None
        tree = cls(kind, Path(value).expanduser().resolve(), variable)
        if lacking := tree.lacking():
            raise InstallTreeError(
                f"{variable}: {tree.prefix} has no {' and no '.join(lacking)}; name the directory that "
                f"{tree.facts.daemon} was installed into (its --prefix)"
            )
        return tree

    @classmethod
    def from_path(cls, kind: str) -> "InstallTree | None":
        """Return the tree of the lnd or lightningd on PATH, if it is complete."""
        known = facts(kind).install_tree
        daemon = shutil.which(known.daemon) if known else None
        if known is None or daemon is None:
            return None
        folder = Path(daemon).resolve().parent
        prefix = folder.parent if folder.name == "bin" else folder
        tree = cls(kind, prefix, f"{known.daemon} on PATH")
        return None if tree.lacking() else tree

    @property
    def facts(self) -> TreeFacts:
        """The properties of a tree of this kind."""
        known = facts(self.kind).install_tree
        assert known is not None, f"the image kind {self.kind} has no [install_tree]"
        return known

    def lacking(self) -> list[str]:
        """Return the missing files, as paths relative to the prefix."""
        files = self.files()
        return [place for place in self.facts.needed if not any(f"{name}/".startswith(f"{place}/") for name in files)]

    def files(self) -> dict[str, Path]:
        """Return the node's own files: path within the prefix -> file. Programs are in bin/, or directly in it."""
        bin_folder = self.prefix / "bin" if (self.prefix / "bin").is_dir() else self.prefix
        programs = {f"bin/{path.name}": path for name in self.facts.programs for path in bin_folder.glob(name)}
        helpers = {
            str(path.relative_to(self.prefix)): path for name in self.facts.helpers for path in self.prefix.glob(name)
        }
        return {place: path for place, path in sorted((programs | helpers).items()) if path.is_file()}

    def fingerprint(self) -> str:
        """A hexadecimal digest that changes when a file is added, removed, rebuilt or reinstalled."""
        digest = hashlib.sha256()
        for place, path in self.files().items():
            status = path.stat()
            digest.update(f"{place} {status.st_mode} {status.st_size} {status.st_mtime_ns}\n".encode())
        return digest.hexdigest()

    def version(self) -> str:
        """The version that the daemon reports, e.g. `v26.06.6`; empty if it does not run on this machine."""
        daemon = self.files()[f"bin/{self.facts.daemon}"]
        try:
            told = subprocess.run([daemon, "--version"], capture_output=True, text=True, timeout=10)
        except (OSError, subprocess.TimeoutExpired):
            return ""
        return told.stdout.partition("\n")[0].strip()

    def copy_to(self, root: Path) -> None:
        """Copy the tree to `root` in an image's layout: the node in usr/local, its libraries in a separate folder.

        Raises InstallTreeError if a library is missing on this machine.
        """
        libraries: set[Path] = set()
        for place, path in self.files().items():
            target = root / "usr/local" / place
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, target)
            libraries |= _libraries_of(path)
        (root / _LIBRARIES).mkdir(parents=True)
        for library in libraries:
            shutil.copy2(library, root / _LIBRARIES / library.name)
        # Its name sorts last, so it is searched last: the image's own programs keep the image's libraries.
        (root / _LINKER_CONFIGURATION).parent.mkdir(parents=True)
        (root / _LINKER_CONFIGURATION).write_text(f"/{_LIBRARIES}\n")


def _libraries_of(program: Path) -> set[Path]:
    """The shared libraries a program needs, without the C library's; none for scripts and static programs."""
    listed = subprocess.run(["ldd", program], capture_output=True, text=True).stdout
    libraries: set[Path] = set()
    for line in _LDD_LINE.finditer(listed):
        if line["path"] == "not found":
            raise InstallTreeError(f"{program} needs the library {line['name']}, which this machine lacks")
        if not _C_LIBRARY.match(line["name"]):
            libraries.add(Path(line["path"]))
    return libraries
