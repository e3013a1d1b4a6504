"""Measures of rankings on human grades: PNR first, then the usual ones, with intervals. NumPy alone."""
