"""What is packaged: the chart."""
