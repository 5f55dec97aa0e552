"""Runs a notebook with nbclient: python3 nbclient_run.py NOTEBOOK OUTPUT [allow_errors]."""
import sys

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

notebook = nbformat.read(sys.argv[1], as_version=4)
client = NotebookClient(notebook, kernel_name="gradbook", timeout=60, allow_errors=len(sys.argv) > 3)
status = 0
try:
    client.execute()
except CellExecutionError as error:
    print(error.ename, error.evalue)
    status = 3
nbformat.validate(notebook)
nbformat.write(notebook, sys.argv[2])
sys.exit(status)
