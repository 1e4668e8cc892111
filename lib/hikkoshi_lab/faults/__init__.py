"""What goes wrong while a guest is deployed, cut over or rolled back: every fault in every moment, and what became of it."""
