"""The questions that pages, commands, health and metrics ask of the tables. Plain values come back, never rows."""
