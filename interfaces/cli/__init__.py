"""The command line: tables, colour and progress bars for people, `--json` for machines."""
