"""A testbed's status, and the results of `up` and `doctor`, as tables for the terminal."""

from typing import TYPE_CHECKING

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from asyncpay.amounts import in_sat
from asyncpay.terminal import styled
from harness.checks.status import ChannelStatus, Status
from harness.progress import Phases

if TYPE_CHECKING:
    from harness.doctor import Check
    from harness.snapshots import Snapshot


def nodes_table(status: Status) -> Group:
    """The nodes as a table for the terminal, with their problems below it."""
    height = "unknown" if status.height_blocks is None else status.height_blocks
    blocks = "kept fresh" if status.chain_kept_fresh else "mined by hand"
    title = f"testbed {status.testbed} (topology {status.topology}), block {height} ({blocks}); amounts in sat"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("node", "role", "runs", "block"):
        table.add_column(heading, no_wrap=heading != "node", overflow="fold")
    table.add_column("on-chain", justify="right", no_wrap=True)
    table.add_column("channels", justify="right", no_wrap=True)
    for node in status.nodes:
        known = (node.name, node.role, f"{node.implementation} {node.version or ''}")
        if node.problem:
            table.add_row(*known, styled(("-", "red")))
        else:
            assert node.onchain_sat is not None
            assert node.channel_balance_msat is not None
            block = styled(str(node.height_blocks), "" if node.synced else (" syncing", "yellow"))
            amounts = (in_sat(node.onchain_sat * 1_000), in_sat(node.channel_balance_msat))
            table.add_row(*known, block, *amounts)
    problems = [styled((f"  {node.name}: {node.problem}", "red")) for node in status.nodes if node.problem]
    return Group(table, *problems, *([""] if problems else []))


def components_table(status: Status) -> Table:
    """The LSPs' components as a table for the terminal."""
    table = Table("component", "node", "attached", title="LSP components", title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("held payments", justify="right")
    for component in status.components:
        attached = styled("yes" if component.attached else (f"no: {component.problem}", "red"))
        held_payments = "" if component.held_payments is None else str(component.held_payments)
        table.add_row(component.name, component.node, attached, held_payments)
    return table


def phones_table(status: Status) -> Table:
    """The phones as a table for the terminal."""
    table = Table("phone", "is", "link", "wallet", title="phones", title_justify="left", box=box.SIMPLE_HEAD)
    for phone in status.phones:
        link = styled((f"{phone.link} (to {phone.lsp})", "" if phone.link == "normal" else "yellow"))
        wallet = "runs" if phone.wallet_runs else "does not run"
        table.add_row(phone.name, phone.state, link, wallet)
    return table


def channels_table(status: Status) -> Table:
    """The channels as a table for the terminal, each with a bar that shows both balances."""
    table = Table(title="channels, balances in sat", title_justify="left", box=box.SIMPLE, show_header=False)
    table.add_column(justify="right", overflow="fold")
    table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    table.add_column(overflow="fold")
    for channel in status.channels:
        left, right = ("?" if msat is None else in_sat(msat) for msat in channel.balances_msat)
        state = styled(
            f"{channel.short_channel_id} {'private' if channel.private else 'announced'}",
            "" if channel.active else (" not usable", "red"),
            (f" {channel.htlcs} HTLC", "yellow") if channel.htlcs else "",
        )
        table.add_row(channel.ends[0], left, _bar(channel), right, channel.ends[1], state)
    return table


def _bar(channel: ChannelStatus, cells: int = 12) -> Text:
    left, right = channel.balances_msat
    if left is None:
        left = channel.capacity_sat * 1_000 - (right or 0)
    filled = round(cells * left / (channel.capacity_sat * 1_000))
    return styled(("█" * filled, "green"), ("█" * (cells - filled), "blue"))


def phases_table(name: str, phases: Phases) -> Table:
    """The seconds of each phase of bring-up."""
    table = Table(title=f"testbed {name} is up", title_justify="left", show_header=False)
    for phase, seconds in phases.seconds.items():
        table.add_row(phase, f"{seconds:.1f} s")
    table.add_row("all", f"{phases.total_seconds:.1f} s", style="bold")
    return table


def snapshots_table(snapshots: "list[Snapshot]") -> Table:
    """The snapshots, oldest first."""
    table = Table("snapshot", "topology", "nodes", title="snapshots", title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("block", justify="right")
    table.add_column("MB", justify="right")
    table.add_column("saved", no_wrap=True)
    for each in snapshots:
        saved_at = each.volumes.saved_at.astimezone().strftime("%Y-%m-%d %H:%M")
        size = f"{each.volumes.size_bytes / 1_000_000:.0f}"
        nodes = ", ".join(each.facts.node_ids)
        table.add_row(each.name, each.facts.topology, nodes, str(each.facts.height_blocks), size, saved_at)
    return table


def doctor_table(checks: "list[Check]") -> Table:
    """The results of all checks, and what to do."""
    colours = {"ok": "green", "warning": "yellow", "missing": "red"}
    table = Table("", "", "found", "what to do")
    for check in checks:
        table.add_row(styled((check.state.value, colours[check.state])), check.name, check.detail, check.remedy)
    return table
