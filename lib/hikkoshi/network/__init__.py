"""Network measurements and what follows from them."""
