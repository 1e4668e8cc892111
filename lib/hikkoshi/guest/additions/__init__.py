"""What is brought into a guest from outside: scripts of the site's own, and VMware Tools."""
