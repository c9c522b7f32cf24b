"""One base and its adapters over HTTP, as OpenAI's clients ask for them."""
