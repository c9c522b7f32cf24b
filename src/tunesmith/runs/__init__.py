"""A run as steps: prepare, answer before, train, choose, save, evaluate; its folder, history."""
