"""Training, run from the checkout: `python -m training fit CONFIG [key=value …]`."""
