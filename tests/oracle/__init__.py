"""What each kernel means, in plain Python, written from the rules."""
