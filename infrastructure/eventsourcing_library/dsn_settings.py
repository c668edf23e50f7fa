"""The parts of a Postgres DSN, as the `eventsourcing` library's settings name them."""

DSN_SETTINGS = {
    "dbname": "POSTGRES_DBNAME",
    "host": "POSTGRES_HOST",
    "port": "POSTGRES_PORT",
    "user": "POSTGRES_USER",
    "password": "POSTGRES_PASSWORD",
}
