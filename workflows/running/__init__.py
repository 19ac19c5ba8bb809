"""From a plan to products: the controller's side and the worker's."""
