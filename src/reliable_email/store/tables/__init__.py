"""The models. `reliable_email.store` says how they belong together; `states` has the words that they store."""
