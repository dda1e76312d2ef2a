"""Install trees: what belongs to the node, when it counts as changed, and which libraries come along."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.images.install_tree import InstallTree, InstallTreeError

PROGRAM = "#!/bin/sh\necho v26.06.6\n"


@pytest.fixture
def cln(tmp_path: Path) -> Path:
    """A prefix with Core Lightning in it, and with things of other people."""
    prefix = tmp_path / "prefix"
    for name in [
        "bin/lightningd",
        "bin/lightning-cli",
        "libexec/c-lightning/plugins/pay",
        "bin/go",
        "lib/go/huge",
    ]:
        (prefix / name).parent.mkdir(parents=True, exist_ok=True)
        (prefix / name).write_text(PROGRAM)
        (prefix / name).chmod(0o755)
    return prefix


def the(tree: InstallTree | None) -> InstallTree:
    assert tree is not None
    return tree


@pytest.fixture
def tree(cln: Path, monkeypatch: pytest.MonkeyPatch) -> InstallTree:
    monkeypatch.setenv("CLN_PREFIX", str(cln))
    return the(InstallTree.from_environment("cln"))


def test_only_the_node_s_own_files_are_taken(tree: InstallTree) -> None:
    assert list(tree.files()) == ["bin/lightning-cli", "bin/lightningd", "libexec/c-lightning/plugins/pay"]


def test_programs_may_lie_right_in_the_prefix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ["lnd", "lncli", "README"]:
        (tmp_path / name).touch()
    monkeypatch.setenv("LND_PREFIX", str(tmp_path))
    assert list(the(InstallTree.from_environment("lnd")).files()) == ["bin/lncli", "bin/lnd"]


@pytest.mark.parametrize("change", ["rebuilt", "same size and later", "added", "removed"])
def test_the_fingerprint_follows_the_tree(tree: InstallTree, cln: Path, change: str) -> None:
    before = tree.fingerprint()
    assert tree.fingerprint() == before
    if change == "rebuilt":
        (cln / "bin/lightningd").write_text(PROGRAM + "# of today\n")
    elif change == "same size and later":
        os.utime(cln / "bin/lightningd", ns=(1, 1))
    elif change == "added":
        (cln / "libexec/c-lightning/plugins/xpay").touch()
    else:
        (cln / "libexec/c-lightning/plugins/pay").rename(cln / "libexec/c-lightning/keep")
    assert tree.fingerprint() != before


def test_the_fingerprint_leaves_other_people_s_files_out(tree: InstallTree, cln: Path) -> None:
    before = tree.fingerprint()
    (cln / "lib/go/huge").write_text("changed")
    assert tree.fingerprint() == before


def test_a_prefix_without_a_whole_tree_is_refused_with_what_it_lacks(
    cln: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (cln / "bin/lightning-cli").unlink()
    monkeypatch.setenv("CLN_PREFIX", str(cln))
    with pytest.raises(InstallTreeError, match=rf"CLN_PREFIX: {cln} has no bin/lightning-cli; name the directory"):
        InstallTree.from_environment("cln")


def test_a_daemon_on_the_path_leads_to_its_prefix_through_links(
    cln: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "local").mkdir()
    (tmp_path / "local/lightningd").symlink_to(cln / "bin/lightningd")
    monkeypatch.setenv("PATH", f"{tmp_path / 'local'}:{os.environ['PATH']}")
    tree = the(InstallTree.from_path("cln"))
    assert tree.prefix == cln
    assert tree.version() == "v26.06.6"


def test_a_daemon_on_the_path_without_its_helpers_does_not_count(cln: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (cln / "libexec/c-lightning/plugins/pay").unlink()
    monkeypatch.setenv("PATH", str(cln / "bin"))
    assert InstallTree.from_path("cln") is None


@pytest.fixture
def ldd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Stand in for ldd: returns what to write its answer with."""
    (tmp_path / "tools").mkdir()
    tool = tmp_path / "tools/ldd"

    def answer(text: str) -> None:
        tool.write_text(f"#!/bin/sh\ncat <<'END'\n{text}\nEND\n")
        tool.chmod(0o755)

    monkeypatch.setenv("PATH", f"{tool.parent}:{os.environ['PATH']}")
    return answer


def test_libraries_come_along_but_not_the_c_library(
    tree: InstallTree, ldd: Callable[[str], None], tmp_path: Path
) -> None:
    for name in ["libsodium.so.23", "libcrypto.so.3", "libc.so.6", "libm.so.6"]:
        (tmp_path / name).write_text(name)
    ldd(
        "\tlinux-vdso.so.1 (0x00007ffd)\n"
        f"\tlibsodium.so.23 => {tmp_path}/libsodium.so.23 (0x00007f0a)\n"
        f"\tlibcrypto.so.3 => {tmp_path}/libcrypto.so.3 (0x00007f0b)\n"
        f"\tlibm.so.6 => {tmp_path}/libm.so.6 (0x00007f0c)\n"
        f"\tlibc.so.6 => {tmp_path}/libc.so.6 (0x00007f0d)\n"
        "\t/lib64/ld-linux-x86-64.so.2 (0x00007f0e)"
    )
    root = tmp_path / "root"
    tree.copy_to(root)

    (configuration,) = (root / "etc/ld.so.conf.d").iterdir()
    libraries = root / configuration.read_text().strip().lstrip("/")
    assert sorted(path.name for path in libraries.iterdir()) == ["libcrypto.so.3", "libsodium.so.23"]
    assert os.access(root / "usr/local/bin/lightningd", os.X_OK)
    assert (root / "usr/local/libexec/c-lightning/plugins/pay").read_text() == PROGRAM


def test_a_library_missing_here_is_named(tree: InstallTree, ldd: Callable[[str], None], tmp_path: Path) -> None:
    ldd("\tlibsodium.so.23 => not found")
    with pytest.raises(InstallTreeError, match=r"needs the library libsodium\.so\.23, which this machine lacks"):
        tree.copy_to(tmp_path / "root")
