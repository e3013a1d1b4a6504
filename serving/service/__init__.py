"""The scoring service: rank features over HTTP, and a page to look at them."""
