"""Encodings of stored frames as images: their parameters, and the codecs behind them."""
