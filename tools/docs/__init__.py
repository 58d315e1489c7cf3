"""What is written about the project, and what writes the parts that follow from the code (`python -m tools.docs`)."""
