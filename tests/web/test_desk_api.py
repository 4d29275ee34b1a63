"""The desk's API, spoken to directly: signatures, nonces, refusals."""

import json
from pathlib import Path

import pytest

from relay.seal import age, signing
from relay.seal.files import load_signing_identity
from relay.seal.keys import ClassicIdentity, HybridIdentity
from relay.seal.signing import SigningIdentity
from tests.conftest import Answer, Service, Starter

REFUSED = {"error": "DeskRefused", "message": "Refused."}
OF_PULL = {"lease", "waiting", "envelope", "campaign", "submission"}
OF_ALL = {"verdict", "checkpoint", "log"}  # what a verdict needs is a matter of who signed it
SIGNED = [
    ("POST", "/desk/v1/lease"),
    ("GET", "/desk/v1/waiting"),
    ("POST", "/desk/v1/free"),
    ("GET", "/desk/v1/envelope/" + "00" * 16),
    ("GET", "/desk/v1/campaign"),
    ("POST", "/desk/v1/submission"),
    ("POST", "/desk/v1/verdict"),
    ("POST", "/desk/v1/checkpoint"),
    ("GET", "/desk/v1/log?after=0"),
]


def staff(service: Service) -> SigningIdentity:
    passphrase = (service.folder / "passphrase").read_text().strip()
    return load_signing_identity(service.folder / "signer.age", passphrase)


def nonce(service: Service) -> str:
    return str(json.loads(service.request("POST", "/desk/v1/nonce", b"").body)["nonce"])


def authorization(  # noqa: PLR0913 - each is varied by a test
    service: Service,
    method: str,
    path: str,
    *,
    body: bytes = b"",
    identity: SigningIdentity | None = None,
    host: str | None = None,
    fresh: str | None = None,
    context: bytes = signing.REQUEST,
) -> str:
    identity = identity or staff(service)
    fresh = fresh or nonce(service)
    host = host or f"127.0.0.1:{service.port}"
    statement = signing.request_statement(
        method=method, host=host, path=path, body=body, nonce=fresh
    )
    signature = identity.sign(context, statement)
    return f"Relay-Ed25519 {identity.signer().encoded} {fresh} {signature}"


def ask(service: Service, method: str, path: str, header: str, body: bytes = b"") -> Answer:
    sent = None if method == "GET" else body
    return service.request(method, path, sent, {"Authorization": header})


@pytest.mark.parametrize(("method", "path"), SIGNED)
def test_only_a_fresh_request_signed_by_staff_is_answered(
    shared_service: Service, method: str, path: str
) -> None:
    good = authorization(shared_service, method, path)
    first = ask(shared_service, method, path, good)
    assert (
        first.status != 403 or json.loads(first.body) == REFUSED
    )  # an empty verdict is refused too
    assert "Relay-Nonce" in first.headers, "it was authenticated"
    stranger = SigningIdentity.generate()
    for header in (
        "",
        "Basic eA==",
        good,  # replayed
        good + "x",
        " ".join(good.split()[:3]),
        authorization(shared_service, method, path, identity=stranger),
        authorization(shared_service, method, path + "0"),
        authorization(shared_service, "PUT", path),
        authorization(shared_service, method, path, host="other"),
        authorization(shared_service, method, path, body=b"other"),
        authorization(shared_service, method, path, fresh="00" * 40),
        authorization(shared_service, method, path, fresh="zz"),
        authorization(shared_service, method, path, context=signing.VERDICT),
    ):
        answer = ask(shared_service, method, path, header)
        assert answer.status == 403
        assert json.loads(answer.body) == REFUSED
        assert "Relay-Nonce" not in answer.headers


@pytest.mark.parametrize(
    ("roles", "allowed"),
    [
        ("pull", OF_PULL | OF_ALL),
        ("release", OF_ALL),
        ("administer", {"free"} | OF_ALL),
        ("pull release administer", {"free"} | OF_PULL | OF_ALL),
    ],
)
def test_a_colleague_is_answered_where_her_role_reaches_and_else_like_a_stranger(
    start_service: Starter, campaign: Path, roles: str, allowed: set[str]
) -> None:
    colleague, stranger = SigningIdentity.generate(), SigningIdentity.generate()
    with (campaign / "staff.txt").open("a") as lines:
        lines.write(f"{colleague.signer().encoded} {roles}\n")
    service = start_service()
    for method, path in SIGNED:
        view = path.split("/")[3].partition("?")[0]
        header = authorization(service, method, path, identity=colleague)
        answer = ask(service, method, path, header)
        if view in allowed:
            assert "Relay-Nonce" in answer.headers, view
            continue
        header = authorization(service, method, path, identity=stranger)
        refused = ask(service, method, path, header)
        assert (answer.status, answer.body) == (refused.status, refused.body) == (403, refused.body)
        assert answer.headers == refused.headers, view


def test_a_request_is_not_answered_again_after_a_restart(service: Service) -> None:
    used = authorization(service, "POST", "/desk/v1/lease")
    unused = authorization(service, "POST", "/desk/v1/lease")
    assert ask(service, "POST", "/desk/v1/lease", used).status == 200
    service.stop()
    service.start()
    for header in (used, unused):
        assert ask(service, "POST", "/desk/v1/lease", header).status == 403


@pytest.mark.parametrize("after", ["x", "-1", "1" + "0" * 30, ""])
def test_a_number_that_is_none_is_refused(shared_service: Service, after: str) -> None:
    path = f"/desk/v1/log?after={after}"
    header = authorization(shared_service, "GET", path)
    answer = ask(shared_service, "GET", path, header)
    assert (answer.status, json.loads(answer.body)) == (403, REFUSED)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b"x",
        b'{"statement": 1, "signature": 2}',
        b'{"statement": 1, "signature": 2, "signer": []}',
        b"[" * 60_000,
        b"x" * 70_000,
    ],
)
def test_a_verdict_that_is_none_is_refused_and_changes_nothing(
    shared_service: Service, body: bytes
) -> None:
    header = authorization(shared_service, "POST", "/desk/v1/verdict", body=body)
    answer = ask(shared_service, "POST", "/desk/v1/verdict", header, body)
    assert 400 <= answer.status < 500
    entries = shared_service.desk("log", "--json").json["entries"]
    assert entries == []


def decision(service: Service, submission_id: str, campaign: str = "demo") -> str:
    journal = json.loads((service.folder / "desk-journal.json").read_text())
    fields = {
        "version": 1,
        "campaign": campaign,
        "id": submission_id,
        "envelope": journal["envelopes"][submission_id],
        "verdict": "release",
        "reason": None,
    }
    return json.dumps(fields, sort_keys=True, separators=(",", ":"))


def bring(
    service: Service, bearer: SigningIdentity, statement: str, author: SigningIdentity, **more: str
) -> Answer:
    signature = author.sign(signing.VERDICT, statement.encode())
    body = json.dumps({"statement": statement, "signature": signature} | more).encode()
    header = authorization(service, "POST", "/desk/v1/verdict", body=body, identity=bearer)
    return ask(service, "POST", "/desk/v1/verdict", header, body)


def test_a_verdict_signed_by_another_is_refused(lasting: Starter, dirty: bytes) -> None:
    service = lasting()
    service.send(dirty)
    (pulled,) = service.desk("pull", "--to", "s", "--json").json["fetched"]  # type: ignore[misc]
    me, stranger = staff(service), SigningIdentity.generate()
    statement = decision(service, pulled)
    for author, text, more in (
        (stranger, statement, {}),
        (stranger, statement, {"signer": stranger.signer().encoded}),
        (stranger, statement, {"signer": me.signer().encoded}),
        (me, statement, {"signer": stranger.signer().encoded}),
        (me, statement, {"signer": "x"}),
        (me, decision(service, pulled, "other"), {}),
    ):
        answer = bring(service, me, text, author, **more)
        assert answer.status == 400
        assert json.loads(answer.body)["error"] == "Corrupt"
    assert service.desk("release", pulled).out == f"{pulled}: released\n"


@pytest.mark.parametrize(
    "change", ["short", "long", "slots", "kind", "classic", "stanza", "garbage", "empty"]
)
def test_what_has_not_the_shape_of_every_envelope_is_not_kept(
    lasting: Starter, change: str
) -> None:
    service = lasting()
    keys = [HybridIdentity.generate().recipient() for _ in range(4)]
    classic = ClassicIdentity.generate().recipient()
    size = 512 * 1024
    envelope = {
        "short": lambda: age.seal(bytes(size - 512), keys),
        "long": lambda: age.seal(bytes(size + 512), keys),
        "slots": lambda: age.seal(bytes(size), keys[:3]),
        "kind": lambda: age.seal(bytes(size), [*keys[:3], classic]),
        "classic": lambda: age.seal(bytes(size), [classic] * 4),
        "stanza": lambda: age.seal(bytes(size), keys).replace(b"mlkem768x25519", b"mlkem768x25518"),
        "garbage": lambda: bytes(size),
        "empty": lambda: b"",
    }[change]()
    for body, status in ((envelope, 400), (age.seal(bytes(size), keys), 200)):
        header = authorization(service, "POST", "/desk/v1/submission", body=body)
        answer = ask(service, "POST", "/desk/v1/submission", header, body)
        assert answer.status == status, answer.text
    assert len(service.desk("pull", "--to", "s", "--json").json["fetched"]) == 1  # type: ignore[arg-type]


def test_a_verdict_may_be_brought_by_a_colleague(service: Service, dirty: bytes) -> None:
    """Who signed it stands in the log; who is neither she nor the lease's holder is refused."""
    me, berta, clara = staff(service), SigningIdentity.generate(), SigningIdentity.generate()
    with (service.folder / "staff.txt").open("a") as lines:
        lines.writelines(f"{one.signer().encoded}\n" for one in (berta, clara))
    service.kill()
    service.start()
    service.send(dirty)
    (pulled,) = service.desk("pull", "--to", "s", "--json").json["fetched"]  # type: ignore[misc]
    statement, hers = decision(service, pulled), berta.signer().encoded
    pull_only = SigningIdentity.generate()
    with (service.folder / "staff.txt").open("a") as lines:
        lines.write(f"{pull_only.signer().encoded} pull\n")
    service.kill()
    service.start()
    refused = bring(service, me, statement, pull_only, signer=pull_only.signer().encoded)
    assert refused.status == 400, "she may not decide"
    for bearer in (berta, clara):
        locked = bring(service, bearer, statement, berta, signer=hers)
        assert (locked.status, json.loads(locked.body)["error"]) == (409, "LockedByColleague")
    for already in (False, True):
        answer = bring(service, me, statement, berta, signer=hers)
        assert (answer.status, json.loads(answer.body)) == (200, {"already": already})
    last = service.desk("log", "--json").json["entries"][-1]  # type: ignore[index]
    assert (last["action"], last["signer"]) == ("released", hers)


def test_a_look_at_what_waits_leases_nothing(lasting: Starter, dirty: bytes) -> None:
    service = lasting()
    service.send(dirty)
    seen = []
    for method, path in (("GET", "waiting"), ("GET", "waiting"), ("POST", "lease")):
        header = authorization(service, method, f"/desk/v1/{path}")
        seen.append(json.loads(ask(service, method, f"/desk/v1/{path}", header).body))
        entries = service.desk("log", "--json").json["entries"]
        assert len(entries) == (path == "lease")  # type: ignore[arg-type]
    assert seen[0] == seen[1] == seen[2]
    assert len(seen[0]["leases"]) == 1
