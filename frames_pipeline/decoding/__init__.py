"""From packets to pixels: the plan, one pass over it, conversion, assembly of clips."""
