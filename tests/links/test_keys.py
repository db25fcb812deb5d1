"""Parts that prove who they are by a key, as nkeys of NATS and as a file of credentials."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Dict, Tuple

import pytest
from far_parts import eventually
from over_nats import Here, all_answer, far_parts, here, known

from ate_dispatcher.errors import DispatcherError

__all__ = ["far_parts", "here"]

pytest.importorskip("nats")
from nats.aio.client import RawCredentials


class Key:
    """A new pair of keys, of an operator, an account or a user."""

    def __init__(self, kind: str) -> None:
        nkeys = pytest.importorskip("nkeys", reason="no nkeys: pip install nats-py[nkeys]")
        prefix = getattr(nkeys, f"PREFIX_BYTE_{kind}")
        self._pair = nkeys.from_seed(bytearray(nkeys.encode_seed(os.urandom(32), prefix)))
        self.seed: str = self._pair.seed.decode()
        self.public: str = self._pair.public_key.decode()

    def signs(self, subject: Key, kind: str, **claims: Any) -> str:
        """A JWT about *subject*, as NATS has them."""

        def encoded(what: bytes) -> str:
            return base64.urlsafe_b64encode(what).decode().rstrip("=")

        body: Dict[str, Any] = {
            "iat": int(time.time()),
            "iss": self.public,
            "name": kind,
            "sub": subject.public,
            "nats": {"type": kind, "version": 2, **claims},
        }
        digest = hashlib.sha256(json.dumps(body).encode()).digest()
        body["jti"] = base64.b32encode(digest).decode().rstrip("=")
        head = json.dumps({"typ": "JWT", "alg": "ed25519-nkey"})
        text = ".".join(encoded(each.encode()) for each in (head, json.dumps(body)))
        return f"{text}.{encoded(self._pair.sign(text.encode()))}"


def seed_file(folder: Path, key: Key) -> str:
    """Where the seed of *key* stands."""
    path = folder / f"{key.public}.nk"
    path.write_text(f"{key.seed}\n", encoding="ascii")
    return str(path)


def credentials(folder: Path, jwt: str, key: Key) -> str:
    """Where both stand, as the tools of NATS write it."""
    path = folder / f"{key.public}.creds"
    path.write_text(
        f"-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{key.seed}\n------END USER NKEY SEED------\n",
        encoding="ascii",
    )
    return str(path)


def test_a_part_may_have_a_key(here: Here, tmp_path: Path) -> None:
    """One that the server does not know, none, or what is no key: told at the call, without it."""
    one, two, stranger = Key("USER"), Key("USER"), Key("USER")
    users = ", ".join(f"{{nkey: {each.public}}}" for each in (one, two))
    server = here.server(f"authorization {{users: [{users}]}}")
    a, connection = here.connect(server.url, "a", "here", nkeys_seed=seed_file(tmp_path, one))
    here.connect(server.url, "b", "there", nkeys_seed_str=two.seed)
    known(a, "volts", 2)
    assert all_answer(a)
    nonsense = tmp_path / "nonsense.nk"
    nonsense.write_text("no seed\n", encoding="ascii")
    for options, why in [
        ({"nkeys_seed": seed_file(tmp_path, stranger)}, "Authorization Violation"),
        ({}, "Authorization Violation"),
        ({"nkeys_seed": str(nonsense)}, "nkeys: invalid seed"),
        ({"nkeys_seed": str(tmp_path / "missing")}, "No such file"),
    ]:
        with pytest.raises(DispatcherError, match=why) as caught:
            here.connect(server.url, "c", **options)
        assert f"no connection to {server.url}" in str(caught.value)
        assert stranger.seed not in str(caught.value)
    # It signs anew whenever it connects.
    server.kill()
    server.start()
    eventually(lambda: connection.is_connected)
    eventually(lambda: all_answer(a, ttl=300))


def operated(here: Here) -> Tuple[Any, Key]:
    """A server that believes whom an operator's account has signed for; and that account."""
    operator, account = Key("OPERATOR"), Key("ACCOUNT")
    no_limit = dict.fromkeys(["subs", "data", "payload", "imports", "exports", "conn", "leaf"], -1)
    about = operator.signs(account, "account", limits={**no_limit, "wildcards": True})
    server = here.server(
        f"operator: {operator.signs(operator, 'operator')}\n"
        f"resolver: MEMORY\nresolver_preload: {{{account.public}: {about}}}"
    )
    return server, account


def test_a_part_may_have_a_file_of_credentials(here: Here, tmp_path: Path) -> None:
    """Signed for by its account; by another, or with another's seed, is an error at the call."""
    server, account = operated(here)
    every = {"subs": -1, "data": -1, "payload": -1}
    users = [Key("USER"), Key("USER")]
    files = [credentials(tmp_path, account.signs(each, "user", **every), each) for each in users]
    a, _ = here.connect(server.url, "a", "here", user_credentials=files[0])
    here.connect(server.url, "b", "there", user_credentials=files[1])
    known(a, "volts", 2)
    assert all_answer(a)
    unsigned, thief = Key("USER"), Key("USER")
    wrong = [
        credentials(tmp_path, Key("ACCOUNT").signs(unsigned, "user", **every), unsigned),
        credentials(tmp_path, account.signs(users[0], "user", **every), thief),
    ]
    for each in wrong:
        with pytest.raises(DispatcherError, match="Authorization Violation"):
            here.connect(server.url, "c", user_credentials=each)


def test_half_a_file_of_credentials_is_told(here: Here, tmp_path: Path) -> None:
    """nats-py would read for a JWT on and on after the end, and nobody could end that."""
    server, account = operated(here)
    user = Key("USER")
    whole = Path(credentials(tmp_path, account.signs(user, "user"), user)).read_text()
    jwt, seed = whole.split("\n\n")
    for text, lacks in [(seed, "JWT"), (jwt, "NKEY SEED"), ("", "JWT")]:
        half = tmp_path / "half.creds"
        half.write_text(text, encoding="ascii")
        for given in (str(half), half, RawCredentials(text)):
            with pytest.raises(DispatcherError, match=f"user_credentials have no USER {lacks}"):
                here.connect(server.url, "c", user_credentials=given)


def test_what_keys_need_is_named_if_it_is_missing() -> None:
    """Before there is a thread that tries."""
    code = """
import sys
sys.modules["nkeys"] = None
from ate_dispatcher.links.nats import NatsTransport
from ate_dispatcher.errors import DispatcherError
for name in ("nkeys_seed", "nkeys_seed_str", "user_credentials"):
    try:
        NatsTransport(**{name: "x"})
    except DispatcherError as error:
        assert 'pip install "nats-py[nkeys]"' in str(error), error
    else:
        raise SystemExit(name)
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
