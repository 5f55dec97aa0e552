"""Runs a notebook with nbclient and stops at its first error: python3 nbclient_run.py NOTEBOOK."""
import sys

import nbformat
from nbclient import NotebookClient

notebook = nbformat.read(sys.argv[1], as_version=4)
nbformat.validate(notebook)
NotebookClient(notebook, kernel_name="gradbook", timeout=300).execute()
