"""`python -m difgen_cli`: the command line."""

from difgen_cli.cli import main

main()
