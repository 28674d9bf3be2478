"""Many messages by Django's backend and by each of our doors: does a receiver, or a signature, see a difference?"""
