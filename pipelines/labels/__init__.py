"""Reading labels: open evidence, views and gold, count them, and draw their boxes on the images."""
