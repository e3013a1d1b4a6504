"""The sections of the page, one function each: facts in, markup out."""
