"""Export: a trained model and its feature transform as one SavedModel that needs nothing but TensorFlow."""
