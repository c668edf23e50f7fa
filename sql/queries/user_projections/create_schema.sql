-- Makes the schema of users' views.
CREATE SCHEMA IF NOT EXISTS {schema}
