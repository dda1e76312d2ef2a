"""`asyncpay`: the command line of the components that an LSP or a wallet runs next to its node."""

import typer

from asyncpay.cli import lsp, wallet

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
app.add_typer(lsp.app, name="lsp")
app.add_typer(wallet.app, name="wallet")
