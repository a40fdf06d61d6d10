"""`python -m gateway.cli` is the `tiergate` command."""

from gateway.cli.main import main

main()
