"""The parts of this package's SQL: the database's clock, bulk INSERTs, text that fits, errors."""
