"""Values for the pages, made from the store's: charts, evidence, lines of routes, groups of failures, previews."""
