"""Entry point for `ray job submit`: the same as `selfstudy run`.

ray job submit --working-dir . -- python jobs/generate.py jobs/sample.yaml --set output=s3://bucket/folder
"""

import sys

from selfstudy.cli import main

if __name__ == "__main__":
    sys.argv.insert(1, "run")
    main()
