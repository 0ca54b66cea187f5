import pytest
from cryptography.fernet import Fernet
from hypothesis import given
from hypothesis import strategies as st

from collector.address import Credentials
from collector.credentials import CredentialsInvalid, credentials_text, parse_credentials
from service_api.secrets import KeyInvalid, SealBroken, Sealer

KEY, OTHER_KEY = (Fernet.generate_key().decode() for _ in range(2))


@given(st.text(st.characters(codec="utf-8")))
def test_what_is_sealed_opens_again_and_shows_nothing(text):
    sealer = Sealer(KEY)
    token = sealer.seal(text)
    assert sealer.unseal(token) == sealer.unseal(memoryview(token)) == text
    assert len(text) < 4 or text.encode() not in token


def test_another_key_does_not_open_it_and_the_error_names_the_setting():
    token = Sealer(KEY).seal("public")
    with pytest.raises(SealBroken, match="RIDETHROUGH_ENCRYPTION_KEY"):
        Sealer(OTHER_KEY).unseal(token)
    with pytest.raises(SealBroken):
        Sealer(KEY).unseal(token[:-4] + b"AAAA")


@pytest.mark.parametrize("key", ["", "short", "ü" * 44, KEY[:-4]], ids=str.__len__)
def test_a_key_of_the_wrong_form_is_refused_with_the_cure(key):
    with pytest.raises(KeyInvalid, match="generate_key"):
        Sealer(key)


def test_a_fingerprint_tells_equal_texts_and_depends_on_the_key():
    sealer = Sealer(KEY)
    assert sealer.fingerprint("public") == Sealer(KEY).fingerprint("public")
    assert sealer.fingerprint("public") != sealer.fingerprint("private")
    assert sealer.fingerprint("public") != Sealer(OTHER_KEY).fingerprint("public")
    assert KEY not in repr(sealer)


@given(st.builds(Credentials, *[st.text(st.characters(codec="utf-8"))] * 3))
def test_credentials_survive_their_text(credentials):
    assert parse_credentials(credentials_text(credentials)) == credentials


@pytest.mark.parametrize("text", ["", "public", "[]", '["a", "b"]', '["a", "b", 3]', '{"user": 1}'])
def test_a_text_that_holds_no_credentials_is_refused_without_being_shown(text):
    with pytest.raises(CredentialsInvalid) as refused:
        parse_credentials(text)
    assert "public" not in str(refused.value)
