"""The inside of `testing.server`: the conversation, the script of what it answers, and the books that it keeps."""
