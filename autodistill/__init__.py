"""AutoDistill: search, distil and measure small encoders for one piece of hardware."""

__version__ = "0.1.0"
