"""What commands show: live views and progress bars where there is a terminal and rich, plain lines elsewhere."""
