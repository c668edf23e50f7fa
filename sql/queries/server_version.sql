-- The version of this Postgres server.
SHOW server_version
