"""The command line: tables, colour and progress for people, `--json` for machines."""
