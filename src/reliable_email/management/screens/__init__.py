"""The screens of commands: live views and progress bars in a terminal with rich, plain lines elsewhere."""
