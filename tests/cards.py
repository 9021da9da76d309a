"""A card that says all that a card must, of nothing in particular."""

CARD = {
    "name": "tiny",
    "description": "made by a test",
    "made_by": "a test",
    "config_hash": "0" * 16,
    "versions": {},
    "scores": {},
    "licence": "Apache-2.0",
}
