"""From packets to pixels: plan the packets, decode them in one pass, convert, assemble clips."""
