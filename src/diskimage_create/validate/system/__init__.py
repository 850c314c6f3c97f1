"""What an installed system says of itself, by its files, and what is known of every distribution's."""
