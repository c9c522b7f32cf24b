"""How much of what an adapter can hold is used: rank, spectrum, loss against rank."""
