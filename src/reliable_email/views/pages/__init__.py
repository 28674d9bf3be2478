"""One module for each page, and the parts that pages share: charts, lists of routes, evidence."""
