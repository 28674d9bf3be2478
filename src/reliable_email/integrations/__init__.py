"""Integrations with other packages: task queues, webhooks, health checks. Each module needs its package."""
