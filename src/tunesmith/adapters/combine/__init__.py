"""Several LoRA adapters made one: by products, layer by layer, without the base."""
