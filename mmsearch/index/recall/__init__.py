"""Recall: the documents of a space nearest to a query vector, exactly or by faiss indexes kept beside a generation."""
