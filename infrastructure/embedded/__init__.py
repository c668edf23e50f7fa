"""A real Postgres and a real S3 server out of pip-installed binaries, for an installation that configures neither."""
