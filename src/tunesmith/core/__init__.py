"""What everything else uses: errors, files, locks, numbers, phrases, progress."""
