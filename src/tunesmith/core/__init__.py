"""What everything stands on: errors, files, locks, numbers, phrases, progress."""
