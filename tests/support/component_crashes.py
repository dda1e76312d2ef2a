"""Kill the LSP's component at a chosen moment (asyncpay.service.common.failpoints), and wait for its exit."""

from harness.services.lsp import DATA_DIR, Lsp, interceptor_attached
from harness.testbed import Testbed
from harness.waits import Predicate, wait_for

ATTACH_SECONDS = 90


def crash_before(testbed: Testbed, lsp: Lsp, effect: str, number: int = 1) -> None:
    """Kill the component, and make its next run exit after storing and before performing its n-th effect of this name.

    It is attached again when this returns.
    """
    script = f"echo {effect} {number} > {DATA_DIR}/lsp.sqlite.crash-before"
    testbed.engine.output(lsp.name, ["sh", "-c", script])
    lsp.kill()
    restart(lsp)


def restart(lsp: Lsp) -> None:
    """Start the component after its exit, and wait until it is attached to its node."""
    lsp.start()
    wait_for(interceptor_attached(lsp), ATTACH_SECONDS)


def wait_for_death(testbed: Testbed, lsp: Lsp) -> None:
    """Wait until the component has exited."""

    def missing() -> str | None:
        state = testbed.engine.states()[lsp.name]
        return None if state == "exited" else f"{lsp.name} is {state}"

    wait_for(Predicate("component_dead", missing))
