"""What makes a stream of any model: windows, pairs against a reference, memories that begin anew."""
