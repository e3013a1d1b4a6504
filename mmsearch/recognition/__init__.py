"""What pictures and sound say: text in pictures (OCR) and speech, by recognisers that the user chooses. No torch."""
