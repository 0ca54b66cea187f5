"""The database's shape, step by step: SQL that a DBA can read, run by Alembic.

A migration never imports the application. Each table's comment names the one package that writes it.
"""
