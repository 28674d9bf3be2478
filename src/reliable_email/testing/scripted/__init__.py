"""The inside of `testing.server`: the conversation, its rules and habits, and the books that it keeps."""
