"""The files for operators: alert rules, systemd units and configurations, checked by the programs that read them."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from asyncpay import config
from harness.pytest_plugin import UNAVAILABLE

CHECKOUT = Path(__file__).parents[2]
OPERATING = CHECKOUT / "docs/operating"
SYSTEMD = CHECKOUT / "docs/operating/systemd"
UNITS = sorted(SYSTEMD.glob("*.service"))
PROGRAM = "/opt/asyncpay/bin/asyncpay"


def program(name: str, package: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{UNAVAILABLE}{name} is not installed: it is in the package {package} of Debian and Ubuntu")
    return found


def output_of(*command: str | Path, folder: Path = CHECKOUT) -> str:
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, done.stdout
    return done.stdout


def _read(file: Path) -> dict[str, Any]:
    read: dict[str, Any] = YAML(typ="safe").load(file.read_text())
    return read


def alerts() -> list[dict[str, Any]]:
    groups = YAML(typ="safe").load((OPERATING / "alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def test_prometheus_accepts_the_alert_rules() -> None:
    assert f"{len(alerts())} rules found" in output_of(
        program("promtool", "prometheus"), "check", "rules", OPERATING / "alerts.yml"
    )


def test_each_alert_fires_when_it_should_and_only_then() -> None:
    """The cases are in docs/operating/alerts.test.yml, in Prometheus' format of unit tests for rules."""
    promtool = program("promtool", "prometheus")
    assert "SUCCESS" in output_of(promtool, "test", "rules", "alerts.test.yml", folder=OPERATING)


def test_each_alert_has_a_remedy_and_is_tested() -> None:
    names = [rule["alert"] for rule in alerts()]
    assert len(names) == len(set(names)) > 10
    page = (CHECKOUT / "docs/operating.md").read_text()
    assert re.findall(r"^\| (Asyncpay\w+) \|", page, re.MULTILINE) == names
    tests = YAML(typ="safe").load((OPERATING / "alerts.test.yml").read_text())["tests"]
    cases = [case for test in tests for case in test["alert_rule_test"]]
    fired = {case["alertname"] for case in cases if case.get("exp_alerts")}
    assert fired == set(names)


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_systemd_accepts_the_unit(unit: Path, tmp_path: Path) -> None:
    """`systemd-analyze verify` reports unknown directives and values; it also wants the program to exist."""
    analyze = program("systemd-analyze", "systemd")
    text = unit.read_text()
    assert PROGRAM in text
    copy = tmp_path / unit.name
    copy.write_text(text.replace(PROGRAM, sys.executable))
    said = output_of(analyze, "verify", "--man=no", copy)
    assert [line for line in said.splitlines() if unit.name in line] == []


@pytest.mark.parametrize("component", ["lsp", "wallet"])
def test_the_installed_configuration_is_valid(component: str) -> None:
    file = SYSTEMD / f"{component}.toml"
    loaded = config.load(file, config.LspConfig) if component == "lsp" else config.load(file, config.WalletConfig)
    (unit,) = (unit for unit in UNITS if unit.stem.endswith(component))
    text = unit.read_text()
    assert f"--config /etc/asyncpay/{component}.toml" in text
    assert f"StateDirectory={loaded.store.path.parent.name}" in text
    assert loaded.store.path.parent == Path("/var/lib/asyncpay")


def test_a_failed_installation_says_what_to_do() -> None:
    """The first thing that is missing is named: root, systemd, or at the latest this Python."""
    command = [str(SYSTEMD / "install.sh"), "no-python"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert re.search(r"cannot be installed: .+\. .+\.$", done.stderr.strip())
    assert done.stdout == ""
