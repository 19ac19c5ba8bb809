"""What was made: taken into the archive, shown, checked, removed."""
