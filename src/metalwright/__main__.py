"""`python -m metalwright`: the command line."""

from metalwright.cli import main

main()
