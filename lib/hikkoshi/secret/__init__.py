"""What nobody else may read: secrets and where they are, masking them, finding them where they do not belong, private folders."""
