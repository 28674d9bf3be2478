"""What pages show, as values made from the store's: charts, evidence, lines of routes, groups of failures, previews."""
