"""The only home of DDL: numbered migrations, functions and named queries, shipped as package data."""
