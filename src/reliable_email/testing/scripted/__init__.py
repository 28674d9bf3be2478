"""The inside of `testing.server`: the conversation, and the books that it keeps."""
