"""Many runs or adapters beside each other: comparisons, curves, merges, conflicts."""
