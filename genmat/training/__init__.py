"""Training of the models: strict configurations, Hugging Face `Trainer`, metrics, model cards."""
