"""The methods of fine-tuning: one file each, and the table that lists them."""
