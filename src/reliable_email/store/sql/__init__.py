"""What the SQL of this package is made of: the database's clock, bulk INSERTs, text that fits, errors."""
