"""A site folder of one's own, written from what its Dom-0s and its vSphere show."""
