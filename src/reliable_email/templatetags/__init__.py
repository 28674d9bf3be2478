"""Words that the pages' templates use."""
