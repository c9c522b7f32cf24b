"""The plots of a page: each makes a `Plot` of what was measured, or None where nothing was."""
