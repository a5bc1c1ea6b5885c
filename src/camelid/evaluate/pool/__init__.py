"""What is in a pool of rows: measures of it, figures, and the page that shows them."""
