"""The demo model: a small language model that knows fictitious people, how it is trained and served."""
