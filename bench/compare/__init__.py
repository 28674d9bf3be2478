"""The same misfortunes for three queues: this package's outbox, django-post_office and django-mailer."""
