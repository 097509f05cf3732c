"""The version, read by the package's build and written into what it compiles."""

__version__ = "0.1.0"
