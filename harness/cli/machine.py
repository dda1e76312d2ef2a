"""`testbed images` and `doctor`: what this machine has, and lacks."""

import json

import typer

from harness.cli.common import AsJson, errors_as_sentences, out


def images() -> None:
    """Pull or make the container images, as far as this machine can."""
    from harness import service_images

    raise typer.Exit(service_images.main())


def doctor(as_json: AsJson = False) -> None:
    """What this machine has and lacks. Exit code 1 if something is missing that everything needs."""
    from harness import doctor as checked

    with errors_as_sentences():
        checks = checked.checks()
    if as_json:
        print(json.dumps([vars(check) for check in checks], indent=2))
    else:
        from harness.cli.tables import doctor_table

        out.print(doctor_table(checks))
    raise typer.Exit(int(any(check.state is checked.State.MISSING for check in checks)))
