"""One module for each page, by its address. What pages show is made in `views.parts`."""
