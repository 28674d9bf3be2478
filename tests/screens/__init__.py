"""What commands show, in a pseudo terminal and through a pipe."""
