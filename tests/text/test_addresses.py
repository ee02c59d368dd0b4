"""Signatures are removed from URLs, wherever they are; parameters that name a video stay."""

from __future__ import annotations

from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frames_pipeline.text.addresses import (
    folder_and_name,
    is_secret_name,
    secret_values,
    signing_names,
    without_secrets,
)

S = "s3cr3tPLANTED0"
SIGNED = {
    "S3": {
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": f"{S}/20260101/us-east-1/s3/aws4_request",
        "X-Amz-Date": "20260101T000000Z",
        "X-Amz-Expires": "3600",
        "X-Amz-SignedHeaders": "host",
        "X-Amz-Security-Token": f"{S}//////+w==",
        "X-Amz-Signature": S,
    },
    "S3, version 2": {"AWSAccessKeyId": S, "Signature": f"{S}+/=", "Expires": "1790000000"},
    "Google": {"X-Goog-Credential": S, "X-Goog-Signature": S, "X-Goog-Date": "2026"},
    "Google, version 2": {"GoogleAccessId": S, "Expires": "1790000000", "Signature": S},
    "Azure": {"sv": "2026-01-01", "sr": "b", "se": "2030-01-01", "sp": "r", "sig": f"{S}="},
    "CloudFront": {"Policy": S, "Signature": f"{S}~-_", "Key-Pair-Id": S},
    "CloudFront, canned": {"Expires": "1790000000", "Signature": S, "Key-Pair-Id": S},
    "token": {"token": S},
    "OAuth": {"access_token": S},
    "Akamai": {"hdnea": f"exp=1~hmac={S}"},
    "Alibaba": {"OSSAccessKeyId": S, "Expires": "1", "Signature": S},
    "Tencent": {"q-sign-algorithm": "sha1", "q-ak": S, "q-signature": S},
    "key": {"api_key": S},
    "within": {"url": f"https://host/x.mp4?sig={S}"},
}
SHELLS = (
    "{}",
    "cannot read {}: 403 Forbidden",
    "URL('{}')",
    '{{"url": "{}"}}',
    "<{}>",
    "two: {} and {}",
    "403, message='Forbidden', url='{}'",
)


@pytest.mark.parametrize("kind", SIGNED)
@pytest.mark.parametrize("shell", SHELLS)
def test_signatures_are_taken_out(kind: str, shell: str) -> None:
    """Version parameters and the surrounding text stay."""
    for parameters in (SIGNED[kind], dict(reversed(SIGNED[kind].items()))):
        for first in ({}, {"versionId": "v7"}):
            url = f"https://host/a/b.mp4?{urlencode(first | parameters)}"
            told = without_secrets(shell.format(url, url))
            plain = "https://host/a/b.mp4" + ("?versionId=v7" if first else "")
            assert told == shell.format(plain, plain)
            assert S not in without_secrets(quote(url, safe=""))
            assert S not in without_secrets(quote(quote(url, safe=""), safe=""))
            assert S not in without_secrets(url.replace("&", "&amp;"))
            assert S not in without_secrets(url.replace("&", "\\u0026"))
            assert S not in without_secrets(url.replace("?", "#"))
            assert S not in without_secrets(f"b.mp4?{urlencode(first | parameters)}")
            assert signing_names(url)
            assert S not in "".join(signing_names(url))


@pytest.mark.parametrize("user", [f"me:{S}", S, f"me:p@{S}", f"me%40a:{S}", f":{S}"])
def test_users_and_passwords_are_taken_out(user: str) -> None:
    assert without_secrets(f"at https://{user}@host:80/a: gone") == "at https://host:80/a: gone"
    assert without_secrets(f"zip://a.zip::ftp://{user}@host/a") == "zip://a.zip::ftp://host/a"


@pytest.mark.parametrize(
    "text",
    [
        "https://host/watch?v=abc&list=7",
        "s3://bucket/a?b/c.mp4",
        "abfss://container@account.dfs.core.windows.net/a.mp4",
        "max_tokens=300 must be above 0; is it? no: key=value",
        "clip 'a.mp4#12800-25600' has no frames",
        "100 % of 3 clips, 50%3 done",
        "someone@example.org",
        "what? now",
        "",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert without_secrets(text) == text
    assert not signing_names(text)


@given(st.text())
def test_it_is_total_and_done_once(text: str) -> None:
    once = without_secrets(text)
    assert without_secrets(once) == once
    assert folder_and_name(text)[1] in text


@given(
    st.sampled_from(sorted(SIGNED)),
    st.text("abcxyz059-_.~/", min_size=1, max_size=12),
    st.lists(st.tuples(st.text("abcdkmn", min_size=3, max_size=6), st.text("a0/", max_size=4))),
)
def test_a_name_does_not_depend_on_what_signs(
    kind: str, key: str, others: list[tuple[str, str]]
) -> None:
    """A video with a new signature in its URL keeps its folder and name."""
    kept = [(name, value) for name, value in others if not is_secret_name(name)]
    names = set()
    for secret in ("one", "two"):
        signed = {name: value.replace(S, secret) for name, value in SIGNED[kind].items()}
        url = f"https://host/{key}?{urlencode([*kept, *signed.items()])}"
        folder, name = folder_and_name(url)
        assert f"{folder}/{name}" == url
        names.add((folder, without_secrets(name)))
    assert len(names) == 1


def test_values_of_options_that_are_secrets() -> None:
    options = {
        "anon": False,
        "key": "AKIA1",
        "client_kwargs": {"aws_secret_access_key": "two", "region": "eu", "password": "three3"},
        "token": "",
        "endpoint_url": "https://host",
    }
    assert list(secret_values(options)) == ["AKIA1", "three3"]
