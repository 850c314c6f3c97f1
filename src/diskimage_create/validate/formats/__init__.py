"""What bytes mean: parsers of disks, file systems, executables and archives. They know nothing of images."""
