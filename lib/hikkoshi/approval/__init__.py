"""What is to be carried out, who allows it by a signature, and what that signature binds."""
