"""Opens a Durus file with the original Durus and has it cut off what a torn write left.

    python repair.py FILE
"""

import sys

from durus_common import storage_class

storage_class(sys.argv[1])(sys.argv[1], repair=True).close()
