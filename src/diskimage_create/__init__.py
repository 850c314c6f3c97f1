"""Build, prove and publish OpenStack disk images with diskimage-builder."""
