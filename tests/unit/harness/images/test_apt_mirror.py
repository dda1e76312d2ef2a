"""docker/apt-mirror.sh: the Debian mirror out of an apt configuration of any form."""

import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[4] / "docker/apt-mirror.sh"

pytestmark = pytest.mark.skipif(shutil.which("apt-get") is None, reason="apt reads its own configuration")

DEBIAN = 'ID=debian\nVERSION_CODENAME="bookworm"\n'
UBUNTU = 'ID=ubuntu\nVERSION_CODENAME="noble"\n'

DEB822 = """\
Types: deb
URIs: http://security.example/debian-security
Suites: bookworm-security
Components: main

Types: deb deb-src
URIs: https://mirror.example/pub/debian
Suites: bookworm bookworm-updates
Components: main contrib
"""


def mirror(root: Path, files: dict[str, str], os_release: str = DEBIAN) -> str:
    for name, text in {"etc/os-release": os_release, **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return subprocess.run([SCRIPT, root], check=True, capture_output=True, text=True).stdout.strip()


def test_deb822(tmp_path: Path) -> None:
    assert mirror(tmp_path, {"etc/apt/sources.list.d/debian.sources": DEB822}) == "https://mirror.example/pub/debian/"


def test_one_line_form_after_a_cdrom_and_other_people_s_repositories(tmp_path: Path) -> None:
    files = {
        "etc/apt/sources.list": (
            "# deb http://commented-out.example/debian bookworm main\n"
            "deb cdrom:[Debian-12]/ bookworm main\n"
            "deb http://tools.example/debian tools main\n"
            "deb http://server.example/debian bookworm server\n"
            "deb [arch=amd64] http://mirror.example/debian bookworm main\n"
        ),
    }
    assert mirror(tmp_path, files) == "http://mirror.example/debian/"


def test_a_list_file_of_its_own(tmp_path: Path) -> None:
    files = {"etc/apt/sources.list.d/debian.list": "deb http://mirror.example/d stable main\n"}
    assert mirror(tmp_path, files) == "http://mirror.example/d/"


def test_the_address_in_a_mirror_file_as_in_cloud_images(tmp_path: Path) -> None:
    files = {
        "etc/apt/sources.list": "deb mirror+file:/etc/apt/mirrors/debian.list bookworm main\n",
        "etc/apt/mirrors/debian.list": "# nearest first\nhttp://near.example/debian\tpriority:1\nhttp://far.example/d\n",
    }
    assert mirror(tmp_path, files) == "http://near.example/debian"


def test_ubuntu_has_no_debian_mirror(tmp_path: Path) -> None:
    files = {"etc/apt/sources.list": "deb http://mirror.example/ubuntu noble main\n"}
    assert mirror(tmp_path, files, UBUNTU) == ""
