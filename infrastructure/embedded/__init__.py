"""A real Postgres and a real S3 server, from pip-installed binaries, where the settings name none."""
