"""How fast the outbox goes on after something broke."""
