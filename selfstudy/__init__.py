"""Question-answer training data from documents: sentence-targeted, filtered first, coverage measured."""
