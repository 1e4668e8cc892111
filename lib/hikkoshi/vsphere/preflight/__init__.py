"""What has to be so before a machine can come to vSphere: by its specification alone, and by what vSphere tells."""
