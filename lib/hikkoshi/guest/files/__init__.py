"""The files of a guest that a move changes, a module each: text → text, idempotent."""
