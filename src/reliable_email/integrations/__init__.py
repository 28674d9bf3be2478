"""Where other packages meet this one: task queues, webhooks, health checks. Each module needs its package."""
