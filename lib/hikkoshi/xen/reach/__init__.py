"""How a Dom-0 is reached: as this machine, as a folder with its files, or over ssh."""
