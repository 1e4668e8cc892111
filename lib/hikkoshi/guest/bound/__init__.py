"""What binds a guest to the machine that it is on."""
