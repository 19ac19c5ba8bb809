"""Metadata in the words of the standards: MDTO for the archive, PREMIS for its keeper, DataCite for who cites it.

Plain values in, XML out, and back: nothing here knows of runs or products.
"""
