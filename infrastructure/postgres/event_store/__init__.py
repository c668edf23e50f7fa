"""The log on Postgres: group commit and reading."""
