"""A trained model behind OpenAI's chat API: requests in, questions through the model in batches, answers out."""
