"""`python -m relay.posters`: a poster's fields as JSON on stdin, its PDF on stdout.

A process of its own, for the relay: what draws also loads decoders of pictures, and the service
has none.
"""

import json
import sys

from relay.errors import ConfigInvalid
from relay.posters.pdf import make_pdf
from relay.posters.poster import Paper, Poster


def main() -> int:
    """Draw one poster; on failure say why on stderr."""
    fields = json.load(sys.stdin)
    try:
        pdf = make_pdf(Poster(**fields | {"paper": Paper(fields["paper"])}))
    except ConfigInvalid as error:
        sys.stderr.write(error.message)
        return error.exit_code
    sys.stdout.buffer.write(pdf)
    return 0


sys.exit(main())
