"""Take back what a colleague has leased, where her laptop is lost."""

from relay.desk.client import DeskClient
from relay.desk.journal import ID
from relay.errors import Corrupt


async def free(client: DeskClient, signer: str) -> list[str]:
    """Return the ids of the submissions that were leased to `signer` and wait again now.

    Raises:
        Corrupt: the relay's answer can't be read.
    """
    answer = await client.ask("POST", "/desk/v1/free", {"signer": signer})
    try:
        freed = [str(submission_id) for submission_id in answer["freed"]]
    except (KeyError, TypeError):
        raise Corrupt("The relay's answer can't be read.") from None
    if not all(map(ID.fullmatch, freed)):
        raise Corrupt("The relay's answer can't be read.")
    return freed
