"""Several machines: a dispatcher as one part of a logical one, over whatever carries messages."""
