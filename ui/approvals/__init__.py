"""What need not be asked, who allowed what, and runs that nobody watches."""
