"""Ground: what a worker stands on, read as this is imported: by the process that workers part from, so once a node.

What is installed anew while workers are there, they do not see: what they have imported stays.
"""

from terp.storage.environment import Environment

HERE = Environment.here()
