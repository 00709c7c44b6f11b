"""What training adds to a model: losses, optimiser, adapters, quantisation, types of numbers, sharding."""
